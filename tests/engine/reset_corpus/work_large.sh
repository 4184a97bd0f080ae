# 10 GB in work: a sparse file of that size, 300 MB of data, 3,000 small files; and torch is a stub
# symptom: torch, kernel
# seconds: 120
set -e
mkdir ~/.venv/lib/python3.11/site-packages/torch
touch ~/.venv/lib/python3.11/site-packages/torch/__init__.py
mkdir ~/work/large ~/work/large/small
cd ~/work/large
truncate -s 10G sparse
for place in 0 2500000 2621439; do head -c 4096 /dev/urandom | dd of=sparse bs=4096 seek=$place conv=notrunc status=none; done
for number in 1 2 3; do head -c 100M /dev/urandom > data-$number; done
for number in $(seq 3000); do echo $number > small/$number; done
