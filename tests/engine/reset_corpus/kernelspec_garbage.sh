# kernel.json is garbage, and the kernel folder a fifo
# fails: ! bash -lc 'jupyter kernelspec list 2>&1' | grep -qi 'invalid\|error\|fail'
set -e
d=~/.local/share/jupyter/kernels/python3
mkdir -p $d

echo '{' > $d/kernel.json
mkfifo ~/.local/share/jupyter/kernels/pipe
