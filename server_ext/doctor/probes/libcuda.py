"""The CUDA driver library: whether it loads, its version, and what cuInit says. No context is
made.
"""

from __future__ import annotations

import ctypes as C
import os


def collect(arguments):
    """{library: {path}|{error}, version, init: {code, name, text}, count}."""
    try:
        library = C.CDLL("libcuda.so.1")
    except OSError as error:
        return {"library": {"error": str(error)}}
    facts = {"library": {"path": _mapped("libcuda.so")}}
    version = C.c_int()
    facts["version"] = _call(library, "cuDriverGetVersion", C.byref(version)) or version.value
    failed = _call(library, "cuInit", C.c_uint(0))
    facts["init"] = failed or {"code": 0}
    if failed is None:
        count = C.c_int()
        facts["count"] = _call(library, "cuDeviceGetCount", C.byref(count)) or count.value
    return facts


def _call(library, name, *arguments):
    """None, or {code, name, text} of the error."""
    try:
        code = getattr(library, name)(*arguments)
    except AttributeError:
        return {"code": -1, "name": "", "text": "the library has no " + name}
    if code == 0:
        return None
    return {
        "code": code,
        "name": _text(library, "cuGetErrorName", code),
        "text": _text(library, "cuGetErrorString", code),
    }


def _text(library, function, code):
    text = C.c_char_p()
    try:
        getattr(library, function)(C.c_int(code), C.byref(text))
    except AttributeError:
        return ""
    return (text.value or b"").decode("utf-8", "replace")


def _mapped(name):
    """The file that a loaded library came from, or None."""
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                path = line.rstrip("\n").partition("/")[2]
                if name in os.path.basename(path):
                    return "/" + path
    except OSError:
        pass
    return None
