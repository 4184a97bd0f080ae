# bin/python is a script that fails
# symptom: python, torch, kernel
set -e
for name in python python3 python3.11; do
    rm -f ~/.venv/bin/$name
    printf '#!/bin/sh\nexit 1\n' > ~/.venv/bin/$name
    chmod +x ~/.venv/bin/$name
done
