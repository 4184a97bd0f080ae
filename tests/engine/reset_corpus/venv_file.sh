# ~/.venv is a file
# symptom: environment
set -e
rm -rf ~/.venv
echo x > ~/.venv
