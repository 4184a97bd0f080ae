# the home and all in it may only be read
# symptom: save, pip
set -e
find ~ -mindepth 1 -maxdepth 1 ! -name work -exec chmod -R a-w {} +
chmod a-w ~
