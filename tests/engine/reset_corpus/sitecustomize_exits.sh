# sitecustomize ends the process without a word
# symptom: python, torch, kernel
set -e
mkdir ~/.venv/lib/python3.11/site-packages/hook
echo "import sys; sys.path.insert(0, '~/.venv/lib/python3.11/site-packages/hook'.replace('~', '$HOME'))" > ~/.venv/lib/python3.11/site-packages/hook.pth
echo "import os; os._exit(0)" > ~/.venv/lib/python3.11/site-packages/hook/sitecustomize.py
