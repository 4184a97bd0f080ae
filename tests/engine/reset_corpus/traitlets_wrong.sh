# traitlets of another time: kernels end at once
# symptom: kernel
set -e
mkdir ~/.venv/lib/python3.11/site-packages/traitlets
echo "__version__ = '0.1'" > ~/.venv/lib/python3.11/site-packages/traitlets/__init__.py
