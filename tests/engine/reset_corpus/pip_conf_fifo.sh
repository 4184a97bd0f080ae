# pip.conf is a fifo: pip hangs
# symptom: pip
set -e
mkdir -p ~/.pip
mkfifo ~/.pip/pip.conf
