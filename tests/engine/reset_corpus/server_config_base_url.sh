# jupyter_server_config.json has another base_url and root_dir
# symptom: jupyter
set -e
mkdir -p ~/.jupyter
cd ~/.jupyter

echo '{"ServerApp": {"base_url": "/elsewhere/", "root_dir": "/home/jovyan/.cache"}}' > jupyter_server_config.json
