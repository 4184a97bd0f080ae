"""A file of the script's folder has the name of a package."""

import pathlib
import sys
import tempfile

with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, "torch.py").write_text("import torch.distributed as dist\n")
    sys.path.insert(0, folder)
    import torch.distributed as dist  # noqa: F401
