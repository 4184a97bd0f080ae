# ~/.cache, ~/.local and ~/.config are fifos, ~/.jupyter is a socket
# symptom: jupyter
set -e
cd ~
rm -rf .local .jupyter .cache .config .ipython
mkfifo .local .cache .config .ipython
/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(".jupyter")'
