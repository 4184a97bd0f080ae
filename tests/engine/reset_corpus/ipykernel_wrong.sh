# an ipykernel that cannot start
# symptom: kernel
set -e
mkdir ~/.venv/lib/python3.11/site-packages/ipykernel
echo "raise RuntimeError('not for this Python')" > ~/.venv/lib/python3.11/site-packages/ipykernel/__init__.py
