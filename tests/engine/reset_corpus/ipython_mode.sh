# ~/.ipython without permissions, where a history is
# fails: python -c "import os; os.listdir(os.path.expanduser('~/.ipython')) if os.path.exists(os.path.expanduser('~/.ipython')) else None"
set -e
mkdir -p ~/.ipython/profile_default
chmod 000 ~/.ipython/profile_default ~/.ipython
