# another jupyter_server in ~/.local, which PYTHONPATH leads to
# symptom: jupyter
set -e
d=~/.local/lib/python3.11/site-packages
mkdir -p $d/jupyter_server $d/tornado $d/jupyterlab
for name in jupyter_server tornado jupyterlab; do echo "raise ImportError('old')" > $d/$name/__init__.py; done
echo "export PYTHONPATH=$d" > ~/.bash_profile
