# a start-up file of IPython ends the kernel
# symptom: kernel
set -e
d=~/.ipython/profile_default/startup
mkdir -p $d
echo "import os; os._exit(1)" > $d/00.py
