"""Variables and stray files."""

from __future__ import annotations

from breakages import Case

CASES: list[Case] = [
    (
        "user site",
        [
            ("python.user_site.on_path", True),
            (
                "packages.directories.0",
                {
                    "directory": "/home/jovyan/.local/x",
                    "base": False,
                    "distributions": [{"name": "rich", "version": "1", "modules": ["rich"]}],
                },
            ),
        ],
        "GC211",
    ),
    (
        "LD_LIBRARY_PATH with CUDA",
        [
            (
                "system.library_path",
                [{"directory": "/usr/local/cuda/lib64", "libraries": ["libcudart.so.12"]}],
            )
        ],
        "GC212",
    ),
    ("LD_PRELOAD", [("system.preload", [{"library": "/x/libfoo.so", "exists": True}])], "GC213"),
    (
        "PYTHONPATH",
        [
            ("environment.variables.PYTHONPATH", "/home/jovyan/old:"),
            (
                "packages.directories.0",
                {
                    "directory": "/home/jovyan/old",
                    "base": False,
                    "distributions": [{"name": "numpy", "version": "1.26.4", "modules": ["numpy"]}],
                },
            ),
        ],
        "GC214",
    ),
    ("torch.py in work", [("python.shadows", ["torch.py"])], "GC215"),
]
