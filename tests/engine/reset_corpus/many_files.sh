# 200,000 files in the home and in the settings: a million would take minutes to make
# seconds: 240
# fails: test "$(ls ~/.cache/many 2>/dev/null | wc -l)" -lt 1000
set -e
/usr/bin/python3 - <<'END'
import os
for place, count in ((".cache/many", 150_000), (".jupyter/lab/user-settings/many", 25_000),
                     (".jupyter/lab/workspaces", 25_000)):
    os.makedirs(os.path.expanduser("~/" + place), exist_ok=True)
    folder = os.open(os.path.expanduser("~/" + place), os.O_RDONLY)
    for number in range(count):
        os.close(os.open("file %d" % number, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
END
