# ~/.venv is a fifo
# symptom: environment
set -e
rm -rf ~/.venv
mkfifo ~/.venv
