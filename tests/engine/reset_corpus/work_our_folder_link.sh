# .gpucamp in work is a link to /
# symptom: none
set -e
rm -rf ~/work/.gpucamp
ln -s / ~/work/.gpucamp
