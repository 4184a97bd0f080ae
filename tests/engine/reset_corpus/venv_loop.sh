# ~/.venv is a link to itself
# symptom: environment
set -e
rm -rf ~/.venv
ln -s .venv ~/.venv
