# work and .gpucamp in it without permissions
# symptom: none
set -e
mkdir -p ~/work/.gpucamp/runs
chmod 000 ~/work/.gpucamp/runs ~/work/.gpucamp ~/work
