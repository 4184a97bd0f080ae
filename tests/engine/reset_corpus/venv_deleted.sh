# ~/.venv is deleted
# symptom: environment
set -e
rm -rf ~/.venv
