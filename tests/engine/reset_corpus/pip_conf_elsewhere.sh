# pip.conf installs to a folder that is not there
# symptom: pip
set -e
mkdir -p ~/.pip
printf '[install]\ntarget = /nowhere/at/all\n' > ~/.pip/pip.conf
