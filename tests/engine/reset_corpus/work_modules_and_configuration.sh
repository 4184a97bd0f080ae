# modules of the names of the server's, and its configuration, in work
# symptom: none
set -e
cd ~/work
mkdir jupyter_server tornado
for name in jupyter_server/__init__ tornado/__init__ jupyterhub server_ext sitecustomize usercustomize jupyter_server_config jupyter_lab_config jupyterhub_config jupyter_config jupyterlab json5; do
    echo "raise SystemExit('code of the work folder ran in the server')" > $name.py
done
for name in jupyter_server_config jupyter_lab_config jupyter_config page_config overrides; do echo '{' > $name.json; done
mkdir labconfig
echo '{' > labconfig/page_config.json
