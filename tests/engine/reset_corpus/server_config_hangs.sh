# jupyter_server_config.py never ends
# symptom: jupyter
set -e
mkdir -p ~/.jupyter
cd ~/.jupyter

echo "import time; time.sleep(1000)" > jupyter_server_config.py
