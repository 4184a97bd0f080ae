# pip.conf is garbage
# symptom: pip
set -e
mkdir -p ~/.config/pip
printf 'no = section\n[[[\n' > ~/.config/pip/pip.conf
