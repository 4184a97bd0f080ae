# a pip that was upgraded half
# symptom: pip
set -e
mkdir ~/.venv/lib/python3.11/site-packages/pip
touch ~/.venv/lib/python3.11/site-packages/pip/__init__.py
