# .gpucamp in work is a fifo, and its folder of runs another
# symptom: none
set -e
rm -rf ~/work/.gpucamp
mkfifo ~/work/.gpucamp
