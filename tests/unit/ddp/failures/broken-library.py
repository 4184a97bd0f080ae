"""An operator's library that was built for another PyTorch."""

import subprocess
import tempfile

import torch

SOURCE = "extern int _ZN3c104cuda20CUDACachingAllocator6renameEv(void);\n"
SOURCE += "int use(void) { return _ZN3c104cuda20CUDACachingAllocator6renameEv(); }\n"

with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/libfast_attention.so"
    build = ["gcc", "-shared", "-fPIC", "-Wl,-z,now", "-o", path, "-xc", "-"]
    subprocess.run(build, input=SOURCE.encode(), check=True)
    torch.ops.load_library(path)
