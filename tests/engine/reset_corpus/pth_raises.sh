# a .pth file that ends the process
# symptom: python, torch, kernel
set -e
echo "import os; os._exit(9)" > ~/.venv/lib/python3.11/site-packages/distutils-precedence.pth
