# the line that leads to the base is deleted: no torch
# symptom: torch, kernel
set -e
rm ~/.venv/lib/python3.11/site-packages/gpucamp-base.pth
