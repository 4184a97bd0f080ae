# pyvenv.cfg leads to a Python that is not there
# symptom: torch, kernel
set -e
printf 'home = /nowhere/bin\ninclude-system-site-packages = false\nversion = 2.7\n' > ~/.venv/pyvenv.cfg
rm -r ~/.venv/lib
ln -s /nowhere ~/.venv/lib
