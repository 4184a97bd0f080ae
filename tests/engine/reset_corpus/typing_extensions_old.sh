# a package that torch needs is replaced by an old one
# symptom: torch, kernel
set -e
echo "def final(f): return f" > ~/.venv/lib/python3.11/site-packages/typing_extensions.py
