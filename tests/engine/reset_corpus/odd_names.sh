# names with line ends, of no encoding, with dashes in front
# fails: ! ls -A ~ | grep -q nnnnnn
set -e
/usr/bin/python3 - <<'END'
import os
home = os.path.expanduser("~").encode()
for place in (b"", b"/.venv/bin", b"/.venv/lib/python3.11/site-packages", b"/.local/share/jupyter/kernels",
              b"/.jupyter/lab/user-settings", b"/.jupyter/lab/workspaces"):
    os.makedirs(home + place, exist_ok=True)
    for name in (b"two\nlines", b"\xff\xfe", b"-rf", b"--", b" ", b"$(exit)", b"n" * 255, b"\xff.jupyterlab-workspace",
                 b"\xff.jupyterlab-settings", b"n" * 234 + b".jupyterlab-workspace", b"\xff-1.0.dist-info"):
        with open(home + place + b"/" + name, "wb") as file:
            file.write(b"{")
END
