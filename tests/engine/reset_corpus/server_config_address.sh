# jupyter_server_config.py listens at another address, port and path
# symptom: jupyter
set -e
mkdir -p ~/.jupyter
cd ~/.jupyter

cat > jupyter_server_config.py <<'END'
c.ServerApp.ip = "203.0.113.7"
c.ServerApp.port = 1
c.ServerApp.port_retries = 0
c.ServerApp.base_url = "/elsewhere/"
END
cp jupyter_server_config.py jupyter_lab_config.py
