# jupyter_server_config.py ends the server
# symptom: jupyter
set -e
mkdir -p ~/.jupyter
cd ~/.jupyter

echo "raise SystemExit('no')" > jupyter_server_config.py
cp jupyter_server_config.py jupyter_lab_config.py
