# a start-up file of IPython replaces torch
# symptom: kernel
set -e
d=~/.ipython/profile_default/startup
mkdir -p $d

echo "import sys; sys.modules['torch'] = None" > $d/00.py
