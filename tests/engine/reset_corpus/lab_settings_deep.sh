# a tree of a thousand folders in the settings and workspaces
# symptom: none
set -e
/usr/bin/python3 - <<'END'
import os
for place in ("user-settings", "workspaces"):
    os.makedirs(os.path.expanduser("~/.jupyter/lab/" + place), exist_ok=True)
    os.chdir(os.path.expanduser("~/.jupyter/lab/" + place))
    for _ in range(1500):
        os.mkdir("d" * 20)
        os.chdir("d" * 20)
END
