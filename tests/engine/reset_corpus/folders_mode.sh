# .venv, .local, .jupyter, .ipython, .cache and .config without permissions
# symptom: environment, jupyter, kernel
set -e
cd ~
mkdir -p .local .jupyter .ipython .cache .config
chmod 000 .venv .local .jupyter .ipython .cache .config
