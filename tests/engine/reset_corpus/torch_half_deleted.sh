# a torch of the environment whose deletion was cut short
# symptom: torch, kernel
set -e
cd ~/.venv/lib/python3.11/site-packages
mkdir torch
for entry in /opt/gpucamp/base/lib/python3.11/site-packages/torch/*; do ln -s "$entry" torch/; done
rm torch/_C.* torch/lib torch/nn
