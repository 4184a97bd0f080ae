# a server extension in the home that ends the server
# symptom: jupyter
set -e
mkdir -p ~/.jupyter/jupyter_server_config.d ~/.venv/lib/python3.11/site-packages
echo '{"ServerApp": {"jpserver_extensions": {"bad_extension": true}}}' > ~/.jupyter/jupyter_server_config.d/bad.json
cat > ~/.venv/lib/python3.11/site-packages/bad_extension.py <<'END'
import os
os._exit(5)
END
for name in .profile .bash_profile; do echo "export PYTHONPATH=~/.venv/lib/python3.11/site-packages" > ~/$name; done
