"""What a running kernel answers about itself. Its text is run inside of the kernel, in a namespace
of its own (running_kernels.py), so it must be quick, import nothing that is not imported, wait for
nothing, raise nothing and change nothing. Python >= 3.8.

Guarantees: of the environment only the names that were asked for; of the last error only its kind
and, where it is CUDA's, the beginning of CUDA's own text.
"""

import json
import os
import re
import sys
import time

_MODULES = ("torch", "torchvision", "torchaudio", "triton", "numpy")
_OF_CUDA = re.compile(
    r"CUDA error|CUDA out of memory|device-side assert|cuDNN|CUDNN_STATUS|CUBLAS_STATUS|NCCL"
    r"|no kernel image"
)


def answer(names, until):
    """JSON. names: of variables; until: seconds since the epoch after which nobody waits for it."""
    if time.time() > until:
        return "{}"
    try:
        return json.dumps(_facts(names))
    except BaseException as error:  # a program may have replaced anything
        return json.dumps({"error": type(error).__name__})


def _facts(names):
    facts = {"pid": os.getpid(), "executable": sys.executable, "prefix": sys.prefix}
    facts["variables"] = {name: os.environ[name][:8000] for name in names if name in os.environ}
    facts["modules"] = {name: _module(sys.modules[name]) for name in _MODULES if _is_there(name)}
    facts["last_error"] = _last_error()
    torch = sys.modules.get("torch")
    if torch is not None:
        try:
            facts["torch"] = _torch(torch)
        except BaseException as error:
            facts["torch"] = {"error": type(error).__name__}
    return facts


def _is_there(name):
    return sys.modules.get(name) is not None


def _module(module):
    found = module.__dict__  # not getattr: a lazy module would import something
    return {
        "version": str(found.get("__version__"))[:100],
        "file": str(found.get("__file__"))[:1000],
    }


def _last_error():
    error = getattr(sys, "last_value", None)
    if error is None:
        return None
    try:
        text = str(error)
    except BaseException:
        text = ""
    return {"type": type(error).__name__, "text": text[:500] if _OF_CUDA.search(text) else ""}


def _torch(torch):
    facts = {"cuda": torch.version.cuda, "initialized": bool(torch.cuda.is_initialized())}
    facts["benchmark"] = bool(torch.backends.cudnn.benchmark)
    if facts["initialized"]:
        # cached since CUDA was initialised, so it asks nobody
        count = facts["count"] = int(torch.cuda.device_count())
        facts["devices"] = [_device(torch, index) for index in range(min(count, 16))]
    return facts


def _device(torch, index):
    device = {"index": index}
    try:
        stats = torch.cuda.memory_stats(index)
        for name, key in (
            ("allocated", "allocated_bytes.all.current"),
            ("reserved", "reserved_bytes.all.current"),
            ("unusable", "inactive_split_bytes.all.current"),
            ("out_of_memory", "num_ooms"),
        ):
            device[name] = int(stats.get(key, 0))
        device["total"] = int(torch.cuda.get_device_properties(index).total_memory)
        device["uuid"] = str(getattr(torch.cuda.get_device_properties(index), "uuid", ""))
        if device["reserved"]:
            # waits for nothing; after an error that broke the context, each call says so
            torch.cuda.current_stream(index).query()
    except BaseException as error:
        # what is no word of CUDA's says nothing about the device
        found = _OF_CUDA.search(str(error))
        device["error" if found else "unread"] = str(error)[:500] if found else type(error).__name__
    return device
