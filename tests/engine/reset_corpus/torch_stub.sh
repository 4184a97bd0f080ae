# torch is replaced by a stub
# symptom: torch, kernel
set -e
mkdir ~/.venv/lib/python3.11/site-packages/torch
echo "__version__ = '2.9.1'" > ~/.venv/lib/python3.11/site-packages/torch/__init__.py
