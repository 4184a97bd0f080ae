"""A compiled module that was built for another PyTorch, imported."""

import subprocess
import sys
import tempfile

SOURCE = "extern int _ZN3c105ErrorC2ENS_14SourceLocationESs(void);\n"
SOURCE += "int PyInit_fast_attention(void) { return _ZN3c105ErrorC2ENS_14SourceLocationESs(); }\n"

with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/fast_attention.so"
    build = ["gcc", "-shared", "-fPIC", "-o", path, "-xc", "-"]
    subprocess.run(build, input=SOURCE.encode(), check=True)
    sys.path.insert(0, folder)
    import fast_attention  # noqa: F401
