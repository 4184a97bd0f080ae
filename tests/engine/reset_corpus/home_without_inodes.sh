# the environment volume has no inode left
# symptom: save, pip
# home: size=24m,nr_inodes=700
set -e
for number in $(seq 3000); do : > ~/x-$number 2>/dev/null || break; done
