# 10 GB of data in work, a sparse file of that size, 3,000 small files; and torch is a stub
# symptom: torch, kernel
# seconds: 240
set -e
mkdir ~/.venv/lib/python3.11/site-packages/torch
touch ~/.venv/lib/python3.11/site-packages/torch/__init__.py
mkdir ~/work/large ~/work/large/small
cd ~/work/large
truncate -s 10G sparse
for place in 0 2500000 2621439; do head -c 4096 /dev/urandom | dd of=sparse bs=4096 seek=$place conv=notrunc status=none; done
head -c 1000000000 /dev/urandom > data-0
for number in $(seq 9); do { echo $number; cat data-0; } > data-$number; done
for number in $(seq 3000); do echo $number > small/$number; done
