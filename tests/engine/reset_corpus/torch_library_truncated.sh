# a library of torch that a full disk cut off
# symptom: torch, kernel
set -e
base=/opt/gpucamp/base/lib/python3.11/site-packages/torch
cp -rs $base ~/.venv/lib/python3.11/site-packages/torch
rm -r ~/.venv/lib/python3.11/site-packages/torch/lib
mkdir ~/.venv/lib/python3.11/site-packages/torch/lib
for library in $base/lib/*; do ln -s "$library" ~/.venv/lib/python3.11/site-packages/torch/lib/; done
rm ~/.venv/lib/python3.11/site-packages/torch/lib/libtorch_python.so ~/.venv/lib/python3.11/site-packages/torch/_C.*
head -c 100000 $base/lib/libtorch_python.so > ~/.venv/lib/python3.11/site-packages/torch/lib/libtorch_python.so
cp $base/_C.* ~/.venv/lib/python3.11/site-packages/torch/
