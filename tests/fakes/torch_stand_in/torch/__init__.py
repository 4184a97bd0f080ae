"""Plays torch with GPUs for the performance probe: computes nothing, and takes the time that it is
told to take, by the GPU's clock.

STAND_IN_TORCH: {"cuda": "12.8" or null, "gpus": [{"name", "uuid", "capability", "free", "total",
"tflops": {"fp16", "bf16", "tf32", "fp32"}, "memory", "link" (bytes/s), "most": the largest
allocation, "fails_at": [figure of its steps, text of the error]}], "import": what goes wrong at
once, "rank": what ranks meet, "cpu_stat": a cgroup's file}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from types import SimpleNamespace

_TOLD = json.loads(os.environ.get("STAND_IN_TORCH", "{}"))
__version__ = _TOLD.get("version", "2.9.1+cu128")
version = SimpleNamespace(cuda=_TOLD.get("cuda"))

if "import" in _TOLD:
    kind, _, rest = _TOLD["import"].partition(" ")
    if kind == "hang":
        time.sleep(600)
    if kind == "flood":
        while True:
            os.write(1, b"x" * 65536)
            sys.stderr.write("y" * 65536)
    if kind == "exit":
        os._exit(int(rest))
    if kind == "kill":
        os.kill(os.getpid(), int(rest))
    if kind == "garbage":
        sys.stdout.write('\x1egpucamp-probe {"devices": 7, "cpu": [], "skipped": {"a": 1}}\n')
    if kind == "child":
        if os.fork() == 0:
            open(rest, "w").write(str(os.getpid()))
            time.sleep(600)
        time.sleep(600)
    if kind == "error":
        raise ImportError(rest)

float32, float16, bfloat16, uint8 = "fp32", "fp16", "bf16", "u8"
_WIDTH = {float32: 4, float16: 2, bfloat16: 2, uint8: 1}
_precision = "highest"
_clock = 0.0  # seconds that the GPU has worked
_STARTED = time.perf_counter()


class OutOfMemoryError(RuntimeError):
    pass


class AcceleratorError(RuntimeError):
    pass


def _gpu():
    return _TOLD["gpus"][cuda.current]


def _work(seconds, step):
    global _clock
    _clock += seconds
    fails = _gpu().get("fails_at")
    if fails and fails[0] == step:
        raise AcceleratorError(fails[1])


class Tensor:
    def __init__(self, shape, dtype=float32, device=None, pin_memory=False):
        self.shape, self.dtype = shape, dtype
        self.on_gpu, self.pinned = device is not None and str(device) != "cpu", pin_memory
        self.bytes = _WIDTH[dtype]
        for size in shape:
            self.bytes *= size
        if self.on_gpu and self.bytes > _gpu().get("most", 2**40):
            raise OutOfMemoryError(f"CUDA out of memory. Tried to allocate {self.bytes} bytes")
        self.value = 1.0

    def normal_(self):
        return self

    def fill_(self, value):
        self.value = value
        return self

    def __getitem__(self, _):
        return self.value

    def copy_(self, other, non_blocking=False):
        if not (self.on_gpu or other.on_gpu):
            time.sleep(0.002)
        elif self.on_gpu and other.on_gpu:
            _work(2 * self.bytes / _gpu()["memory"], "copy-d2d")
        else:
            name = "copy-h2d-pinned" if self.on_gpu else "copy-d2h-pinned"
            _work(self.bytes / _gpu()["link"], name)
        return self


def empty(*shape, dtype=float32, device=None, pin_memory=False):
    return Tensor(shape, dtype, device, pin_memory)


zeros = ones = empty


def rand(*shape):
    return Tensor(shape)


def mm(a, b, out=None):
    if a.on_gpu:
        kind = "tf32" if a.dtype == float32 and _precision == "high" else a.dtype
        _work(2 * a.shape[0] ** 3 / (_gpu()["tflops"][kind] * 1e12), "matmul-" + kind)
    else:
        time.sleep(0.002)
        _wait_for_cpu()
    return out


def _wait_for_cpu():
    """The cgroup's count of microseconds that threads had to wait grows, where one is told."""
    if "cpu_stat" in _TOLD:
        waited = int((time.perf_counter() - _STARTED) * 0.6e6)
        with open(_TOLD["cpu_stat"], "w") as stream:
            stream.write(f"nr_throttled 9\nthrottled_usec {waited}\n")


def get_float32_matmul_precision():
    return _precision


def set_float32_matmul_precision(value):
    global _precision
    _precision = value


def get_num_threads():
    return 2


class device:  # noqa: N801 - as torch calls it
    def __init__(self, kind, index=0):
        self.index = index

    def __enter__(self):
        cuda.current = self.index

    def __exit__(self, *_):
        pass


class _Event:
    def __init__(self, enable_timing):
        self.at = 0.0

    def record(self):
        self.at = _clock

    def synchronize(self):
        time.sleep(0.02)  # for who watches the card meanwhile

    def elapsed_time(self, end):
        return (end.at - self.at) * 1e3


class _Cuda:
    current = 0
    Event = _Event
    OutOfMemoryError = OutOfMemoryError

    def is_available(self):
        return bool(version.cuda and _TOLD.get("gpus"))

    def init(self):
        raise RuntimeError(_TOLD.get("init", "No CUDA GPUs are available"))

    def device_count(self):
        return len(_TOLD.get("gpus", []))

    def device(self, where):
        return where

    def set_device(self, index):
        self.current = index

    def can_device_access_peer(self, one, other):
        return True

    def get_device_properties(self, where):
        self.current = where.index
        told = _gpu()
        major, minor = told.get("capability", [8, 0])
        return SimpleNamespace(
            name=told["name"], uuid=told.get("uuid", ""), major=major, minor=minor
        )

    def mem_get_info(self, where):
        return _gpu().get("free", 39 * 2**30), _gpu().get("total", 40 * 2**30)

    def synchronize(self, where=None):
        time.sleep(0.005)

    def empty_cache(self):
        pass


cuda = _Cuda()
