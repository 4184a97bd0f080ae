"""What NVML says: versions, devices, memory, health. ctypes only, because the kernel may have no
pynvml. With the argument `watch` it says again and again how much the devices are used.
"""

from __future__ import annotations

import ctypes as C
import os
import time

# nvmlReturn_t values that a check tells apart; the texts are NVML's own where the library gives
# them
_SUCCESS = 0
_FIELD_RECOVERY_ACTION = 230
_MOST_INSTANCES = 16
_MOST_PROCESSES = 256
_NOT_AVAILABLE = 2**64 - 1  # a size that NVML cannot tell

_LIBRARY = "libnvidia-ml.so.1"
# where simulated devices have it; found without LD_LIBRARY_PATH, too, which a kernel may set anew
_STAND_IN = "/opt/gpucamp/practice/lib/" + _LIBRARY


class _Memory(C.Structure):
    _fields_ = [("total", C.c_ulonglong), ("free", C.c_ulonglong), ("used", C.c_ulonglong)]


class _Utilization(C.Structure):
    _fields_ = [("gpu", C.c_uint), ("memory", C.c_uint)]


class _Process(C.Structure):
    """nvmlProcessInfo_v2_t, which the third version of the function has, too."""

    _fields_ = [
        ("pid", C.c_uint),
        ("usedGpuMemory", C.c_ulonglong),
        ("gpuInstanceId", C.c_uint),
        ("computeInstanceId", C.c_uint),
    ]


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
    NVML. With the arguments `watch` and seconds: {devices: [...]}, as often, without end.
    """
    if arguments[:1] == ["watch"]:
        return _watch(float(arguments[1]))
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


def _watch(seconds):
    """Yields {devices: [{uuid, name, memory, utilization, processes}]}; an instance of MIG counts
    as a device.
    """
    try:
        nvml = _Nvml(_load())
        nvml.call("nvmlInit_v2|nvmlInit")
    except (OSError, _Refused) as error:
        yield {"error": str(error)}
        return
    while True:
        count = _try(nvml.unsigned, "nvmlDeviceGetCount_v2|nvmlDeviceGetCount")
        devices = []
        for index in range(min(count, 64) if isinstance(count, int) else 0):
            try:
                devices.extend(_use_of(nvml, _handle(nvml, index)))
            except _Refused:
                continue
        yield {"devices": devices}
        time.sleep(seconds)


def _use_of(nvml, card):
    """The card; or, where it is divided, its instances that this container can see."""
    handles = _try(lambda: [handle for _, handle in _instances(nvml, card)])
    found = []
    for handle in handles if isinstance(handles, list) and handles else [card]:
        device = {
            "uuid": _try(nvml.text, "nvmlDeviceGetUUID", handle),
            "name": _try(nvml.text, "nvmlDeviceGetName", handle),
            "memory": _try(_memory, nvml, handle),
            "processes": _try(_processes, nvml, handle),
        }
        if handle is card:
            device["utilization"] = _try(_utilization, nvml, handle)
        found.append(device)
    return found


def _processes(nvml, handle):
    """[[pid, bytes or None], ...] of those that compute."""
    count, infos = C.c_uint(_MOST_PROCESSES), (_Process * _MOST_PROCESSES)()
    names = "nvmlDeviceGetComputeRunningProcesses_v3|nvmlDeviceGetComputeRunningProcesses_v2"
    nvml.call(names, handle, C.byref(count), infos)
    return [
        [one.pid, None if one.usedGpuMemory == _NOT_AVAILABLE else one.usedGpuMemory]
        for one in infos[: min(count.value, _MOST_PROCESSES)]
    ]


def _memory(nvml, handle):
    memory = _Memory()
    nvml.call("nvmlDeviceGetMemoryInfo", handle, C.byref(memory))
    return {"total": memory.total, "used": memory.used, "free": memory.free}


def _utilization(nvml, handle):
    used = _Utilization()
    nvml.call("nvmlDeviceGetUtilizationRates", handle, C.byref(used))
    return used.gpu


def _handle(nvml, index):
    handle = C.c_void_p()
    nvml.call(
        "nvmlDeviceGetHandleByIndex_v2|nvmlDeviceGetHandleByIndex",
        C.c_uint(index),
        C.byref(handle),
    )
    return handle


def _device(nvml, index):
    try:
        handle = _handle(nvml, index)
    except _Refused as refused:
        return {"index": index, "error": {"code": refused.code, "text": refused.text}}
    device = {
        "index": index,
        "uuid": _try(nvml.text, "nvmlDeviceGetUUID", handle),
        "name": _try(nvml.text, "nvmlDeviceGetName", handle),
        "compute_mode": _try(nvml.unsigned, "nvmlDeviceGetComputeMode", handle),
    }
    device["memory"] = _try(_memory, nvml, handle)
    device["utilization"] = _try(_utilization, nvml, handle)
    field = _FieldValue(fieldId=_FIELD_RECOVERY_ACTION)
    device["recovery_action"] = _try(lambda: _field(nvml, handle, field))
    device["memory_health"] = {
        "uncorrected": _try(lambda: _uncorrected(nvml, handle)),
        "remapped_rows": _try(lambda: _remapped_rows(nvml, handle)),
    }
    device["mig"] = _try(lambda: _mig(nvml, handle))
    return device


def _uncorrected(nvml, handle):
    """Uncorrectable ECC errors since the driver was loaded."""
    count = C.c_ulonglong()
    nvml.call("nvmlDeviceGetTotalEccErrors", handle, C.c_int(1), C.c_int(0), C.byref(count))
    return count.value


def _remapped_rows(nvml, handle):
    """{pending, failure}: rows wait for the next reset; one could not be remapped."""
    correctable, uncorrectable, pending, failure = (C.c_uint() for _ in range(4))
    nvml.call(
        "nvmlDeviceGetRemappedRows",
        handle,
        *(C.byref(value) for value in (correctable, uncorrectable, pending, failure)),
    )
    return {"pending": bool(pending.value), "failure": bool(failure.value)}


def _mig(nvml, handle):
    """{enabled, pending, instances: UUIDs of those that this container can see}."""
    current, pending = C.c_uint(), C.c_uint()
    nvml.call("nvmlDeviceGetMigMode", handle, C.byref(current), C.byref(pending))
    return {
        "enabled": bool(current.value),
        "pending": bool(pending.value),
        "instances": [uuid for uuid, _ in _instances(nvml, handle)] if current.value else [],
    }


def _instances(nvml, card):
    """(UUID, handle) of a card's MIG instances that this container can see."""
    found = []
    for index in range(min(nvml.unsigned("nvmlDeviceGetMaxMigDeviceCount", card), _MOST_INSTANCES)):
        instance = C.c_void_p()
        try:
            nvml.call(
                "nvmlDeviceGetMigDeviceHandleByIndex", card, C.c_uint(index), C.byref(instance)
            )
            found.append((nvml.text("nvmlDeviceGetUUID", instance), instance))
        except _Refused:
            continue  # none of this number, or not this container's
    return found


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
