# ~/.venv without permissions
# symptom: environment
set -e
chmod 000 ~/.venv
