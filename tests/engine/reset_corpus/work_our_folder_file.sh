# .gpucamp in work is a file
# symptom: none
set -e
rm -rf ~/work/.gpucamp
echo mine > ~/work/.gpucamp
