# a start-up file of IPython never ends
# symptom: kernel
set -e
d=~/.ipython/profile_default/startup
mkdir -p $d
echo "import time; time.sleep(10000)" > $d/00.py
