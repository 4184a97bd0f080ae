"""A file of the script's folder has the name of a module of Python's own."""

import pathlib
import sys
import tempfile

with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, "secrets.py").write_text("import torch\ntoken = 1\n")
    sys.path.insert(0, folder)
    sys.modules.pop("secrets", None)
    from secrets import token_hex  # noqa: F401
