# an extension of JupyterLab whose package.json is garbage
# symptom: jupyter
set -e
d=~/.local/share/jupyter/labextensions/bad
mkdir -p $d
echo '{' > $d/package.json
