# ~/.venv is a link to /
# symptom: environment
set -e
rm -rf ~/.venv
ln -s / ~/.venv
