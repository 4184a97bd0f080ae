"""What NVML says: versions, devices, memory, health. ctypes only, because the kernel may have no
pynvml.
"""

from __future__ import annotations

import ctypes as C
import os

# nvmlReturn_t values that a check tells apart; the texts are NVML's own where the library gives
# them
_SUCCESS = 0
_FIELD_RECOVERY_ACTION = 230

_LIBRARY = "libnvidia-ml.so.1"
# where simulated devices have it; found without LD_LIBRARY_PATH, too, which a kernel may set anew
_STAND_IN = "/opt/gpucamp/practice/lib/" + _LIBRARY


class _Memory(C.Structure):
    _fields_ = [("total", C.c_ulonglong), ("free", C.c_ulonglong), ("used", C.c_ulonglong)]


class _Utilization(C.Structure):
    _fields_ = [("gpu", C.c_uint), ("memory", C.c_uint)]


class _Value(C.Union):
    _fields_ = [("dVal", C.c_double), ("uiVal", C.c_uint), ("ullVal", C.c_ulonglong)]


class _FieldValue(C.Structure):
    _fields_ = [
        ("fieldId", C.c_uint),
        ("scopeId", C.c_uint),
        ("timestamp", C.c_longlong),
        ("latencyUsec", C.c_longlong),
        ("valueType", C.c_int),
        ("nvmlReturn", C.c_int),
        ("value", _Value),
    ]


class _Refused(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code
        self.text = text


class _Nvml:
    """The few calls we need; a missing symbol or an error code raises _Refused."""

    def __init__(self, library):
        self._library = library

    def call(self, names, *arguments):
        """Calls the first of `names` that the library has."""
        for name in names.split("|"):
            try:
                function = getattr(self._library, name)
            except AttributeError:
                continue
            code = function(*arguments)
            if code != _SUCCESS:
                raise _Refused(code, self.error_text(code))
            return
        raise _Refused(-1, "the library has no " + names)

    def error_text(self, code):
        try:
            function = self._library.nvmlErrorString
            function.restype = C.c_char_p
            return (function(code) or b"").decode("utf-8", "replace") or "error %d" % code
        except AttributeError:
            return "error %d" % code

    def text(self, names, *before, size=96):
        buffer = C.create_string_buffer(size)
        self.call(names, *before, buffer, C.c_uint(size))
        return buffer.value.decode("utf-8", "replace")

    def unsigned(self, names, *before):
        value = C.c_uint()
        self.call(names, *before, C.byref(value))
        return value.value


def _load():
    """NVML's library. Raises OSError."""
    try:
        return C.CDLL(_LIBRARY)
    except OSError:
        if os.environ.get("GPUCAMP_SIMULATED") != "1" or not os.path.exists(_STAND_IN):
            raise
        return C.CDLL(_STAND_IN)


def collect(arguments):
    """{library, init: {code, text}, driver, cuda, devices: [...]}; {library: {error}} without
    NVML.
    """
    try:
        library = _load()
    except OSError as error:
        return {"library": {"error": str(error)}}
    nvml = _Nvml(library)
    facts = {"library": {"path": _mapped("libnvidia-ml.so")}}
    try:
        nvml.call("nvmlInit_v2|nvmlInit")
        facts["init"] = {"code": 0}
    except _Refused as refused:
        facts["init"] = {"code": refused.code, "text": refused.text}
        return facts
    facts["driver"] = _try(nvml.text, "nvmlSystemGetDriverVersion")
    cuda = C.c_int()
    facts["cuda"] = _try(
        lambda: (nvml.call("nvmlSystemGetCudaDriverVersion", C.byref(cuda)), cuda.value)[1]
    )
    count = _try(nvml.unsigned, "nvmlDeviceGetCount_v2|nvmlDeviceGetCount")
    facts["count"] = count
    facts["devices"] = (
        [_device(nvml, index) for index in range(min(count, 64))] if isinstance(count, int) else []
    )
    return facts


def _device(nvml, index):
    handle = C.c_void_p()
    try:
        nvml.call(
            "nvmlDeviceGetHandleByIndex_v2|nvmlDeviceGetHandleByIndex",
            C.c_uint(index),
            C.byref(handle),
        )
    except _Refused as refused:
        return {"index": index, "error": {"code": refused.code, "text": refused.text}}
    device = {
        "index": index,
        "uuid": _try(nvml.text, "nvmlDeviceGetUUID", handle),
        "name": _try(nvml.text, "nvmlDeviceGetName", handle),
        "compute_mode": _try(nvml.unsigned, "nvmlDeviceGetComputeMode", handle),
    }
    memory, used = _Memory(), _Utilization()
    device["memory"] = _try(
        lambda: (
            nvml.call("nvmlDeviceGetMemoryInfo", handle, C.byref(memory)),
            {"total": memory.total, "used": memory.used, "free": memory.free},
        )[1]
    )
    device["utilization"] = _try(
        lambda: (nvml.call("nvmlDeviceGetUtilizationRates", handle, C.byref(used)), used.gpu)[1]
    )
    field = _FieldValue(fieldId=_FIELD_RECOVERY_ACTION)
    device["recovery_action"] = _try(lambda: _field(nvml, handle, field))
    return device


def _field(nvml, handle, field):
    nvml.call("nvmlDeviceGetFieldValues", handle, C.c_int(1), C.byref(field))
    if field.nvmlReturn != _SUCCESS:
        raise _Refused(field.nvmlReturn, nvml.error_text(field.nvmlReturn))
    return field.value.uiVal


def _try(function, *arguments):
    """The value, or {"error": {code, text}}."""
    try:
        return function(*arguments)
    except _Refused as refused:
        return {"error": {"code": refused.code, "text": refused.text}}


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
