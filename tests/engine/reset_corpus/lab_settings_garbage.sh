# settings, workspaces and page configuration of JupyterLab are garbage
# symptom: jupyter
set -e
cd ~
mkdir -p .jupyter/lab/user-settings/@jupyterlab/apputils-extension .jupyter/lab/workspaces .jupyter/labconfig .jupyter/lab/settings
echo '{' > .jupyter/lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings
head -c 3000 /dev/urandom > .jupyter/lab/workspaces/default-37a8.jupyterlab-workspace
echo '{"disabledExtensions": ' > .jupyter/labconfig/page_config.json
echo '{' > .jupyter/lab/settings/overrides.json
