# sitecustomize hangs
# symptom: python, kernel
set -e
mkdir ~/.venv/lib/python3.11/site-packages/hook
echo "import sys; sys.path.insert(0, '~/.venv/lib/python3.11/site-packages/hook'.replace('~', '$HOME'))" > ~/.venv/lib/python3.11/site-packages/hook.pth
echo "import time; time.sleep(1000)" > ~/.venv/lib/python3.11/site-packages/hook/sitecustomize.py
