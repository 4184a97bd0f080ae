# a certificate that is not there
# symptom: jupyter
set -e
mkdir -p ~/.jupyter
cd ~/.jupyter

echo '{"ServerApp": {"certfile": "/nowhere/cert.pem", "keyfile": "/nowhere/key.pem"}}' > jupyter_server_config.json
