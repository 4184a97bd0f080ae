# a workspace and settings that are fifos: JupyterLab waits for ever
# symptom: jupyter
set -e
mkdir -p ~/.jupyter/lab/workspaces ~/.jupyter/lab/user-settings/@jupyterlab/apputils-extension
mkfifo ~/.jupyter/lab/workspaces/default-37a8.jupyterlab-workspace
mkfifo ~/.jupyter/lab/user-settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings
