"""What a user set or lost around the image's own files: home, language, plots, shared memory."""

from __future__ import annotations

from typing import Any

from bodies import NO_GPU, VENV
from breakages import CULPRIT, Case, failed_import

GONE = {"path": "/dev/shm", "error": "[Errno 2] No such file or directory: '/dev/shm'"}


def _installed(name: str, version: str, *failed: str, **more: Any) -> list[tuple[str, Any]]:
    """A package of the environment in front of the base's, which has pandas, too; modules that
    could not be imported then.
    """
    own, base = NO_GPU["packages"]["directories"][:2]
    new = {"name": name, "version": version, "modules": [name]}
    pandas = {"name": "pandas", "version": "3.1.1"}
    said = {"error": {"type": "ImportError", "message": "C extension: None not built"}}
    modules = {"pandas": "pandas", "torchvision": "torchvision", name: name}
    tried = [
        {"module": module, "ok": module not in failed, "said": "", **said} for module in modules
    ]
    return [
        ("packages.directories.0", {**own, "distributions": [*own["distributions"], new]}),
        ("packages.directories.1", {**base, "distributions": [*base["distributions"], pandas]}),
        ("extensions", {"modules": tried, **more}),
    ]


_TORCH = {"name": "torch", "version": "2.8.0", "directory": VENV}
_NUMPY = {"name": "numpy", "version": "1.26.4", "directory": VENV}

CASES: list[Case] = [
    (
        "a NumPy that pandas cannot use",
        _installed("numpy", "1.26.4", "pandas", culprits=[_NUMPY]),
        "GC342",
    ),
    (
        "a NumPy that is not to blame",
        _installed("numpy", "1.26.4", "pandas", culprits=[]),
        "GC334",
    ),
    # these have codes of their own
    (
        "a torch that breaks the image's torchvision",
        [
            *_installed("torch", "2.8.0", "torchvision", "pandas", culprits=[_TORCH]),
            ("torch.torch.version", "2.8.0"),
        ],
        "GC301",
    ),
    (
        "a package that breaks kernels, too",
        [
            *_installed("typing_extensions", "4.0.0", "pandas", culprits=CULPRIT["culprits"]),
            ("ipykernel", failed_import("TypeError", "extra_items")),
            ("ipykernel_culprit", CULPRIT),
        ],
        "GC205",
    ),
    (
        "torchvision for another torch, which crashes",
        _installed("torchvision", "0.23.0", "torchvision"),
        "GC302",
    ),
    (
        "another home",
        [("python.home", {"variable": "/tmp/x", "account": "/home/jovyan"})],
        "GC236",
    ),
    ("an empty home", [("python.home", {"variable": "", "account": "/home/jovyan"})], "GC236"),
    (
        "a language that is not here",
        [("python.locale", [{"variable": "LC_ALL", "value": "xx"}])],
        "GC237",
    ),
    (
        "plots on a screen",
        [("environment.variables.MPLBACKEND", "TkAgg")],
        "GC238",
    ),
    ("plots on nothing", [("environment.variables.MPLBACKEND", "nonsense")], "GC238"),
    ("/dev/shm read-only", [("resources.filesystems.shm.writable", False)], "GC423"),
    ("no /dev/shm", [("resources.filesystems.shm", GONE)], "GC423"),
]
