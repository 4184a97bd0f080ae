"""Imports a module as a kernel would, and says how it went; for torch, what it sees.

arguments: module, then optionally
- `--only`: ask nothing of what was imported; after it, `--without NAME,NAME --over DIRECTORY ...`:
  import it as if the top-level modules NAME were not in these directories, which shows whether one
  of them is to blame;
- `--record FILE`: put off what the image has a record of (deferred.py).

Meanwhile Python does not look for cyclic garbage: an import leaves next to none, and looking for it
costs torch a tenth of its time.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import time
import traceback
import warnings

_MUST_HAVE = {"torch": ("__version__", "version", "zeros"), "ipykernel.kernelapp": ("IPKernelApp",)}
_LIBRARIES = ("libcudart", "libcublas", "libcudnn", "libnvJitLink", "libnccl", "libcusparse")


def collect(arguments):
    """{ok, seconds, error: {type, message, name, path, frames}, torch: {...}, warnings}."""
    module, options = arguments[0], arguments[1:]
    if options[:2] == ["--only", "--without"]:
        sys.meta_path.insert(0, _Without(options[2].split(","), options[4:]))
    started = time.perf_counter()
    facts = {"module": module}
    if options[:1] == ["--record"]:
        facts["deferred"] = _sibling("deferred").defer(options[1])
        options = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.disable()
        try:
            imported = importlib.import_module(module)
            _must_be_itself(module, imported)
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


def _must_be_itself(module, imported):
    """Raises ImportError where only the name is right: half of a package, or a folder of the same
    name.
    """
    missing = [name for name in _MUST_HAVE.get(module, ()) if not hasattr(imported, name)]
    if missing:
        path = getattr(imported, "__file__", None)
        text = "%s (%s) has no %s" % (module, path or "a folder without code", ", ".join(missing))
        raise ImportError(text, name=module, path=path)
    if module == "ipykernel.kernelapp":
        _must_have_its_launcher(imported)


def _must_have_its_launcher(kernelapp):
    """What starts a kernel is a module beside ipykernel; another file of that name starts none."""
    found = importlib.util.find_spec("ipykernel_launcher")
    path = getattr(found, "origin", None)
    own = os.path.dirname(os.path.dirname(os.path.realpath(kernelapp.__file__)))
    if path is None or os.path.dirname(os.path.realpath(path)) != own:
        text = "ipykernel_launcher is %s, which is not ipykernel's" % (path or "missing")
        raise ImportError(text, name="ipykernel_launcher", path=path)


def _sibling(name):
    """Another file of this folder, which is not on sys.path."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("gpucamp_probe_" + name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
        # a build without CUDA has no such function
        "arch_flags": _try(lambda: torch._C._cuda_getArchFlags() if torch.version.cuda else None),
        "numpy": _try(lambda: (torch.zeros(1).numpy(), "ok")[1]),
        "numpy_installed": _try(lambda: importlib.util.find_spec("numpy") is not None),
        "threads": _try(lambda: torch.get_num_threads()),
        "allocator": _allocator(torch),
    }
    facts["libraries"] = _libraries()
    return facts


def _allocator(torch):
    """What torch says of the settings of its allocator, which it would read at its first use: "ok",
    "unset", or {"error"}.
    """
    settings = os.environ.get("PYTORCH_ALLOC_CONF") or os.environ.get("PYTORCH_CUDA_ALLOC_CONF")
    if not settings:
        return "unset"
    read = _try(lambda: torch._C._cuda_cudaCachingAllocator_set_allocator_settings)
    return read if isinstance(read, dict) else _try(lambda: (read(settings), "ok")[1])


def _gpu(torch, facts):
    """What may hang or crash with the driver, so it comes last."""
    facts["available"] = _try(lambda: torch.cuda.is_available())
    facts["count"] = _try(lambda: torch.cuda.device_count())
    if facts["available"] is True:
        # device_count asks NVML, which may count what CUDA does not see
        facts["runtime_count"] = _try(lambda: torch._C._cuda_getDeviceCount())
        seen = facts["runtime_count"]
        if isinstance(seen, int):
            facts["devices"] = [_device(torch, index) for index in range(min(seen, 16))]
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
