"""Imports a module as a kernel would, and says how it went; for torch, what it sees.

arguments: module, then optionally `--without NAME,NAME --over DIRECTORY ...`: import it as if the
top-level modules NAME were not in these directories, which shows whether one of them is to blame.

Meanwhile Python does not look for cyclic garbage: an import leaves next to none, and looking for it
costs torch a tenth of its time.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import os
import sys
import time
import traceback
import warnings

_LIBRARIES = ("libcudart", "libcublas", "libcudnn", "libnvJitLink", "libnccl", "libcusparse")


def collect(arguments):
    """{ok, seconds, error: {type, message, name, path, frames}, torch: {...}, warnings}."""
    module, options = arguments[0], arguments[1:]
    if options[:1] == ["--without"]:
        sys.meta_path.insert(0, _Without(options[1].split(","), options[3:]))
    started = time.perf_counter()
    facts = {"module": module}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.disable()
        try:
            imported = importlib.import_module(module)
            facts["ok"] = True
        except BaseException as error:  # SystemExit, too: a module may do anything
            facts["ok"] = False
            facts["error"] = describe_error(error)
        finally:
            gc.enable()
        facts["seconds"] = round(time.perf_counter() - started, 3)
        if facts["ok"] and module == "torch" and not options:
            facts["torch"] = _torch(imported)
            yield facts
            _gpu(imported, facts["torch"])
        facts["warnings"] = [str(item.message)[:500] for item in caught][:20]
    yield facts


class _Without:
    """A finder that looks past some directories for some top-level modules."""

    def __init__(self, names, directories):
        self._names = frozenset(names)
        self._directories = frozenset(directories)

    def find_spec(self, name, path=None, target=None):
        if path is None and name in self._names:
            beyond = [entry for entry in sys.path if entry not in self._directories]
            spec = importlib.machinery.PathFinder.find_spec(name, beyond)
            if spec is None:
                raise ModuleNotFoundError("No module named " + repr(name), name=name)
            return spec
        return None


def describe_error(error):
    """{type, message, name, path, frames: files of the traceback, innermost last}."""
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    folder = os.path.dirname(os.path.abspath(__file__))
    return {
        "type": type(error).__name__,
        "message": str(error)[:2000],
        "name": getattr(error, "name", None),
        "path": getattr(error, "path", None),
        "frames": [
            name for name in frames if not name.startswith(("<", folder)) and os.path.isabs(name)
        ][-40:],
    }


def _try(function, *arguments):
    """The value, or {"error": {type, message}}."""
    try:
        return function(*arguments)
    except BaseException as error:
        return {"error": {"type": type(error).__name__, "message": str(error)[:2000]}}


def _torch(torch):
    facts = {
        "version": _try(lambda: str(torch.__version__)),
        "cuda": _try(lambda: torch.version.cuda),
        "hip": _try(lambda: getattr(torch.version, "hip", None)),
        "file": _try(lambda: torch.__file__),
        "cudnn": _try(lambda: torch.backends.cudnn.version()),
        "arch_flags": _try(lambda: torch._C._cuda_getArchFlags()),
        "numpy": _try(lambda: (torch.zeros(1).numpy(), "ok")[1]),
        "numpy_installed": _try(lambda: importlib.util.find_spec("numpy") is not None),
    }
    facts["libraries"] = _libraries()
    return facts


def _gpu(torch, facts):
    """What may hang or crash with the driver, so it comes last."""
    facts["available"] = _try(lambda: torch.cuda.is_available())
    facts["count"] = _try(lambda: torch.cuda.device_count())
    if facts["available"] is True and isinstance(facts["count"], int):
        facts["devices"] = [_device(torch, index) for index in range(min(facts["count"], 16))]
    elif facts["cuda"]:
        facts["init"] = _try(lambda: (torch.cuda.init(), "ok")[1])


def _device(torch, index):
    return {
        "index": index,
        "name": _try(lambda: torch.cuda.get_device_name(index)),
        "capability": _try(lambda: list(torch.cuda.get_device_capability(index))),
        # the shortest thing that runs a kernel of torch's own on the device
        "add": _try(lambda: (torch.ones(8, device="cuda:%d" % index) + 1).sum().item()),
    }


def _libraries():
    """{name: path} of the CUDA libraries that torch brought into this process."""
    found = {}
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                path = line.rstrip("\n").partition("/")[2]
                name = os.path.basename(path)
                if name.startswith(_LIBRARIES):
                    found[name] = "/" + path
    except OSError:
        pass
    return found
