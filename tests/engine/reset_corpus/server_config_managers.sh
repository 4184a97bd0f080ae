# managers of files, sessions and kernels that do not exist
# symptom: jupyter
set -e
mkdir -p ~/.jupyter
cd ~/.jupyter

echo '{"ServerApp": {"contents_manager_class": "nowhere.Manager", "session_manager_class": "nowhere.Sessions", "kernel_manager_class": "nowhere.Kernels"}}' > jupyter_server_config.json
