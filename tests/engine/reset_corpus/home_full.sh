# the environment volume is full
# symptom: save, pip
# home: size=24m
set -e
head -c 1G /dev/zero > ~/fill 2>/dev/null || true
for number in $(seq 100); do echo x > ~/x-$number 2>/dev/null || break; done
