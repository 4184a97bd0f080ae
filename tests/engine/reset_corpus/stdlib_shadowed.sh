# modules of the names of the standard library's come first
# symptom: torch, kernel
set -e
mkdir ~/.venv/lib/python3.11/site-packages/first
for name in random types collections enum re; do echo "raise ImportError('not the real one')" > ~/.venv/lib/python3.11/site-packages/first/$name.py; done
echo "import sys; sys.path.insert(0, '~/.venv/lib/python3.11/site-packages/first'.replace('~', '$HOME'))" > ~/.venv/lib/python3.11/site-packages/first.pth
