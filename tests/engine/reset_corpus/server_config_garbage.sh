# jupyter_server_config.json is garbage
# symptom: none
set -e
mkdir -p ~/.jupyter
cd ~/.jupyter

echo '{"ServerApp": ' > jupyter_server_config.json
echo '}}}' > jupyter_lab_config.json
head -c 1000 /dev/urandom > jupyter_config.py
