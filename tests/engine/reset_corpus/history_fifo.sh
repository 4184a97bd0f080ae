# .bash_history and .inputrc are fifos: shells hang
# symptom: terminal
set -e
rm -f ~/.inputrc ~/.bash_history
mkfifo ~/.inputrc ~/.bash_history
