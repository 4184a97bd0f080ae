# labconfig and the settings disable gpucamp and the file browser
# fails: ! bash -lc 'jupyter labextension list 2>&1' | grep gpucamp | grep -q disabled
set -e
mkdir -p ~/.jupyter/labconfig
echo '{"disabledExtensions": {"gpucamp": true, "@jupyterlab/filebrowser-extension": true}, "lockedExtensions": {"gpucamp": true}}' > ~/.jupyter/labconfig/page_config.json
