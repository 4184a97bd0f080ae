# fifos, sockets, dead links and folders in place of our own files in work
# symptom: none
set -e
mkdir -p ~/work/.gpucamp
cd ~/work/.gpucamp

rm -f examples
ln -s /nowhere/at/all examples
mkfifo doctor-report.json install-again.lock layout.json
mkdir install-again.json environment.lock
mkdir -p runs/20260101-000000-abcdef runs/20260101-000001-abcdef
mkfifo runs/20260101-000000-abcdef/run.json runs/20260101-000000-abcdef/usage.json runs/20260101-000000-abcdef/trackers.json
/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("runs/20260101-000001-abcdef/run.json")'
