# a .pth file that is no text
# symptom: python, kernel
set -e
head -c 5000 /dev/urandom > ~/.venv/lib/python3.11/site-packages/zzz.pth
printf 'import sys; sys.exit(1)\n\377\376' > ~/.venv/lib/python3.11/site-packages/gpucamp-base.pth
echo "import os; os._exit(1)" > ~/.venv/lib/python3.11/site-packages/aaa.pth
