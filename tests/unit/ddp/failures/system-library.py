"""A compiled module that needs a library of the system that is not installed, as OpenCV's."""

import subprocess
import sys
import tempfile

with tempfile.TemporaryDirectory() as folder:
    needed = f"{folder}/libGL.so.1"
    path = f"{folder}/vision.so"
    gcc = ["gcc", "-shared", "-fPIC", "-xc", "-Wl,--no-as-needed"]
    subprocess.run([*gcc, "-o", needed, "-Wl,-soname,libGL.so.1", "-"], input=b"", check=True)
    subprocess.run([*gcc, "-o", path, "-", "-xnone", needed], input=b"", check=True)
    subprocess.run(["rm", needed], check=True)
    sys.path.insert(0, folder)
    import vision  # noqa: F401
