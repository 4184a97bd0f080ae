"""A file named random.py imports what itself imports Python's random."""

import pathlib
import sys
import tempfile

with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, "random.py").write_text("import tempfile\nimport numpy\n")
    sys.path.insert(0, folder)
    for name in ("random", "tempfile", "numpy"):
        sys.modules.pop(name, None)
    import random  # noqa: F401
