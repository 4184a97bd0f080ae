# ~/.venv is a link to nowhere
# symptom: environment
set -e
rm -rf ~/.venv
ln -s /nowhere ~/.venv
