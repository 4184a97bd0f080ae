# usercustomize ends the process, and the environment asks for it
# symptom: python, kernel
set -e
echo "import os; os._exit(3)" > ~/.venv/lib/python3.11/site-packages/usercustomize.py
echo "import usercustomize" > ~/.venv/lib/python3.11/site-packages/user.pth
