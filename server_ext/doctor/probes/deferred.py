"""Puts slow modules of `import torch` off, where running them could teach us nothing.

`torch._meta_registrations` takes a quarter of the time of `import torch` (it declares the shapes
that operators return to torch.compile), quantization, export and their like a tenth, and nothing
runs them again until somebody asks. The image ran them when it was built, and kept a record of what
they brought in (record_deferred.py): torch's own files, and modules of Python's own library, which
are imported at once. Guarantee: they are put off only where they would run as they did then: the
same Python and torch, the same bytes of every file that they bring in, nothing loaded before but
Python's own library, no variable and no option that changes imports. Anything else: torch is
imported whole. Even then they are put off, not left out (importlib.util.LazyLoader): who uses one
gets it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import json
import os
import sys

_CHANGING = ("PYTHON", "PYTORCH", "TORCH")
# set by the image; neither changes what an import does
_HARMLESS = ("PYTHONNOUSERSITE", "TORCHINDUCTOR_CACHE_DIR")


def defer(record_file):
    """Puts the modules of the record off, if that is safe; their names, or None."""
    try:
        with open(record_file, encoding="utf-8") as stream:
            record = json.load(stream)
        if not _as_recorded(record):
            return None
        modules = list(record["modules"])
        for name in record["imports"]:
            importlib.import_module(name)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ImportError):
        return None
    sys.meta_path.insert(0, _Deferring(modules))
    return modules


class _Deferring:
    """A finder that makes some modules lazy."""

    def __init__(self, modules):
        self._modules = frozenset(modules)

    def find_spec(self, name, path=None, target=None):
        if name not in self._modules:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


def _as_recorded(record):
    library = os.path.dirname(os.__file__)
    if record["python"] != sys.version or record["library"] != library:
        return False
    if sys.warnoptions or sys.flags.optimize or set(sys._xoptions) - {"frozen_modules"}:
        return False
    changing = [name for name in os.environ if name.startswith(_CHANGING)]
    if any(name not in _HARMLESS for name in changing) or not _only_python_itself(library):
        return False
    torch = importlib.machinery.PathFinder.find_spec("torch")
    if torch is None or torch.origin != record["torch"]:
        return False
    return all(_digest(path) == known for path, known in record["files"].items())


def _digest(path):
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def _only_python_itself(library):
    """Nothing of the user's has run: no sitecustomize of theirs, no finder, no .pth with code."""
    finders = [getattr(finder, "__module__", "") for finder in sys.meta_path]
    if any(not name.startswith("_frozen_importlib") for name in finders):
        return False
    ours = (library + os.sep, os.path.dirname(os.path.abspath(__file__)) + os.sep)
    paths = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return all(os.path.abspath(path).startswith(ours) for path in paths if path)
