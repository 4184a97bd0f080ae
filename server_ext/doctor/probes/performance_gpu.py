"""One GPU, measured by torch; and what NVML says of it meanwhile. Loaded by performance.py.

Guarantees: times are the GPU's own, medians after a warm-up; a step takes a small share of the
memory that is free, and less on a GPU that is in use.
"""

from __future__ import annotations

import ctypes
import threading
import time

MIB, GIB = 2**20, 2**30

SIZES = (8192, 4096, 2048, 1024, 512)
# shares of the free memory of a GPU, and bytes, that a step may take; on one in use: less
SHARE, MOST = 0.15, 1 * GIB
LIGHT_SHARE, LIGHT_MOST = 0.05, 128 * MIB
# so much in use, or so busy, and somebody works on it; this process has not touched it then
USED, BUSY = 1 * GIB, 10
# seconds that a figure may take on a GPU in use
LIGHT_TURN = 0.1


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def says_memory(error):
    """Whether it is for want of GPU memory; cuBLAS says it in words of its own."""
    text = type(error).__name__ + str(error)
    return any(word in text for word in ("OutOfMemory", "out of memory", "ALLOC_FAILED"))


class Gpu:
    """The measurement of one GPU. An error that is not for want of memory passes through."""

    def __init__(self, torch, paper, device, nvml, turn, free_memory):
        self.torch, self.paper, self.device = torch, paper, device
        self.where = torch.device("cuda", device["index"])
        self.nvml, self.turn, self.free_memory = nvml, turn, free_memory

    def measure(self):
        torch, device = self.torch, self.device
        properties = torch.cuda.get_device_properties(self.where)
        device["name"] = str(properties.name)
        device["capability"] = [properties.major, properties.minor]
        device["uuid"] = str(getattr(properties, "uuid", ""))
        handle = self.nvml.handle(device["uuid"])
        busy = self.nvml.use(handle)
        free, total = torch.cuda.mem_get_info(self.where)
        device["memory"] = {"free": free, "total": total}
        # what this process itself takes so far is in that
        busy["used_bytes"] = max(0, total - free - 600 * MIB)
        device["busy"] = busy
        device["light"] = busy["used_bytes"] >= USED or busy.get("utilization", 0) >= BUSY
        if device["light"]:
            self.turn = min(self.turn, LIGHT_TURN)
        share, most = (LIGHT_SHARE, LIGHT_MOST) if device["light"] else (SHARE, MOST)
        self.room = int(min(free * share, most))
        self.paper.tell()
        with torch.cuda.device(self.where), Watch(self.nvml, handle) as watch:
            self.products(watch, (properties.major, properties.minor))
            self.copies(watch)
            device["load"], device["link"] = watch.load(), watch.link()
        torch.cuda.empty_cache()

    def skip(self, name, reason, detail=""):
        self.paper.skip("cuda:%d %s" % (self.device["index"], name), reason, detail)

    def figure(self, name, value, size):
        self.device["figures"].append({"name": name, "value": value, "size": size})
        self.paper.tell()

    def step(self, name):
        self.paper.step("cuda:%d %s" % (self.device["index"], name))

    # -- matrix products

    def products(self, watch, capability):
        torch = self.torch
        kinds = (
            ("matmul-fp16", torch.float16, "highest", (7, 0)),
            ("matmul-bf16", torch.bfloat16, "highest", (8, 0)),
            ("matmul-tf32", torch.float32, "high", (8, 0)),
            ("matmul-fp32", torch.float32, "highest", (0, 0)),
        )
        self.step("warm-up")
        self.warm_up()
        for name, kind, precision, least in kinds:
            self.step(name)
            if capability < least:
                self.skip(name, "capability")
                continue
            before = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision(precision)
            try:
                self.product(watch, name, kind)
            except RuntimeError as error:
                if not says_memory(error):
                    raise
                self.skip(name, "gpu-memory", error)
                torch.cuda.empty_cache()
            finally:
                torch.set_float32_matmul_precision(before)

    def warm_up(self):
        """An idle GPU takes a moment to raise its clocks and its link."""
        torch, end = self.torch, time.perf_counter() + self.turn
        try:
            a = torch.empty(1024, 1024, device=self.where).normal_()
            while time.perf_counter() < end:
                for _ in range(10):
                    torch.mm(a, a)
                torch.cuda.synchronize(self.where)
        except RuntimeError as error:
            if not says_memory(error):
                raise

    def product(self, watch, name, kind):
        torch, turn = self.torch, self.turn
        width = 2 if kind in (torch.float16, torch.bfloat16) else 4
        fitting = [size for size in SIZES if 3 * size * size * width <= self.room]
        if not fitting:
            self.skip(name, "gpu-memory", "%d MiB" % (self.device["memory"]["free"] // MIB))
            return
        for size in fitting:
            a = torch.empty(size, size, dtype=kind, device=self.where).normal_()
            b = torch.empty(size, size, dtype=kind, device=self.where).normal_()
            out = torch.empty(size, size, dtype=kind, device=self.where)
            torch.mm(a, b, out=out)  # loads the library, and picks a kernel
            once = self.seconds(lambda: torch.mm(a, b, out=out), 1)  # noqa: B023 - called here
            if once * 4 <= turn or size == fitting[-1]:
                break
        with watch.during("compute"):
            seconds = self.median(lambda: torch.mm(a, b, out=out), once, turn)
        self.figure(name, 2 * size**3 / seconds, size)

    # -- copies

    def copies(self, watch):
        torch, step = self.torch, self.step
        memory = self.free_memory()
        size = int(min(256 * MIB, self.room // 2, GIB if memory is None else memory * 0.1))
        size -= size % MIB
        if size < MIB:
            for name in ("copy-h2d-pinned", "copy-h2d-pageable", "copy-d2h-pinned", "copy-d2d"):
                step(name)
                self.skip(name, "gpu-memory", "%d MiB" % (self.device["memory"]["free"] // MIB))
            return
        try:
            here = torch.empty(size, dtype=torch.uint8, device=self.where)
            there = torch.empty(size, dtype=torch.uint8, device=self.where)
        except RuntimeError as error:
            if not says_memory(error):
                raise
            self.skip("copies", "gpu-memory", error)
            return
        step("copy-d2d")
        # below some hundreds of MB, caches of the GPU answer
        if size >= 128 * MIB:
            with watch.during("compute"):
                seconds = self.copy(there, here)
            self.figure("copy-d2d", 2 * size / seconds, size)  # read and written
        else:
            self.skip("copy-d2d", "gpu-memory", "%d MiB" % (size // MIB))
        del there
        step("copy-h2d-pinned")
        pinned = None
        try:
            pinned = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        except RuntimeError as error:  # a limit of locked memory
            self.skip("copy-h2d-pinned", "failed", error)
            self.skip("copy-d2h-pinned", "failed", error)
        if pinned is not None:
            with watch.during("copy"):
                self.figure("copy-h2d-pinned", size / self.copy(here, pinned), size)
            step("copy-d2h-pinned")
            with watch.during("copy"):
                self.figure("copy-d2h-pinned", size / self.copy(pinned, here), size)
            del pinned
        else:
            step("copy-d2h-pinned")
        step("copy-h2d-pageable")
        pageable = torch.zeros(size, dtype=torch.uint8)
        self.figure("copy-h2d-pageable", size / self.copy(here, pageable), size)

    def copy(self, target, source):
        def work():
            target.copy_(source, non_blocking=True)

        work()
        return self.median(work, self.seconds(work, 1), self.turn)

    # -- time, by the GPU's own clock

    def seconds(self, work, count):
        torch = self.torch
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self.where)
        begin.record()
        for _ in range(count):
            work()
        end.record()
        end.synchronize()
        return max(begin.elapsed_time(end) / 1e3 / count, 1e-9)

    def median(self, work, once, turn):
        """Of five rounds that take `turn` seconds together."""
        count = max(1, min(200, int(turn / 5 / once)))
        return median([self.seconds(work, count) for _ in range(5)])


# -- what NVML says meanwhile


class Nvml:
    """The few calls we need; whatever does not work is left out."""

    def __init__(self):
        self._library = None
        for name in ("libnvidia-ml.so.1", "/opt/gpucamp/practice/lib/libnvidia-ml.so.1"):
            try:
                library = ctypes.CDLL(name)
            except OSError:
                continue
            try:
                if library.nvmlInit_v2() == 0:
                    self._library = library
                    return
            except AttributeError:
                continue

    def handle(self, uuid):
        """Of a device by its UUID as torch has it; the card of an instance."""
        if self._library is None or not uuid:
            return None
        for prefix in ("", "GPU-", "MIG-"):
            handle = ctypes.c_void_p()
            if self._call(
                "nvmlDeviceGetHandleByUUID", (prefix + uuid).encode(), ctypes.byref(handle)
            ):
                card = ctypes.c_void_p()
                found = prefix == "MIG-" and self._call(
                    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle, ctypes.byref(card)
                )
                return card if found else handle
        return None

    def _call(self, name, *arguments):
        try:
            return getattr(self._library, name)(*arguments) == 0
        except AttributeError:
            return False

    def _number(self, names, handle, kind=ctypes.c_uint, *before):
        for name in names.split("|"):
            value = kind()
            if self._library is not None and handle is not None:
                if self._call(name, handle, *before, ctypes.byref(value)):
                    return value.value
        return None

    def use(self, handle):
        """{utilization}, in %, of whoever uses it now."""

        class Utilization(ctypes.Structure):
            _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]

        found = {}
        if self._library is None or handle is None:
            return found
        for attempt in range(2):
            read = Utilization()
            if not self._call("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(read)):
                break
            found["utilization"] = read.gpu
            if read.gpu < BUSY or attempt:
                break
            time.sleep(1.2)  # a program that ended a moment ago still counts
        return found

    def under_load(self, handle):
        """{reasons, temperature, power, power_limit, power_default, sm_clock}; watts."""
        wide = ctypes.c_ulonglong
        found = {
            "reasons": self._number(
                "nvmlDeviceGetCurrentClocksEventReasons|nvmlDeviceGetCurrentClocksThrottleReasons",
                handle,
                wide,
            ),
            "temperature": self._number("nvmlDeviceGetTemperature", handle, ctypes.c_uint, 0),
            "sm_clock": self._number("nvmlDeviceGetClockInfo", handle, ctypes.c_uint, 1),
        }
        for key, name in (
            ("power", "nvmlDeviceGetPowerUsage"),
            ("power_limit", "nvmlDeviceGetEnforcedPowerLimit"),
            ("power_default", "nvmlDeviceGetPowerManagementDefaultLimit"),
        ):
            milliwatts = self._number(name, handle)
            found[key] = None if milliwatts is None else milliwatts / 1000
        return found

    def link(self, handle):
        """{generation, width, max_generation, max_width} of the PCIe link."""
        return {
            key: self._number(name, handle)
            for key, name in (
                ("generation", "nvmlDeviceGetCurrPcieLinkGeneration"),
                ("width", "nvmlDeviceGetCurrPcieLinkWidth"),
                ("max_generation", "nvmlDeviceGetMaxPcieLinkGeneration"),
                ("max_width", "nvmlDeviceGetMaxPcieLinkWidth"),
            )
        }


class Watch:
    """Reads NVML every few hundredths of a second while something runs; torch lets other threads
    run while it waits for the GPU.
    """

    def __init__(self, nvml, handle):
        self._nvml, self._handle = nvml, handle
        self._phase, self._over = "", threading.Event()
        self._loads, self._links = [], []
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self):
        if self._handle is not None:
            self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        if self._handle is not None:
            self._thread.join(1)  # a call that hangs is left alone

    def during(self, phase):
        return _Phase(self, phase)

    def _read(self):
        while not self._over.wait(0.02):
            phase = self._phase
            if phase == "compute":
                reading, readings = self._nvml.under_load(self._handle), self._loads
            elif phase == "copy":
                reading, readings = self._nvml.link(self._handle), self._links
            else:
                continue
            # of a phase that ended meanwhile, it is not known whether there was load
            if phase == self._phase:
                readings.append(reading)

    def load(self):
        """All readings of compute, put together."""
        loads = list(self._loads)
        bits = [1 << place for place in range(16)]
        masks = [one["reasons"] for one in loads if one["reasons"] is not None]
        found = {
            "readings": len(masks),
            "reasons": {
                str(bit): count for bit in bits if (count := sum(1 for mask in masks if mask & bit))
            },
        }
        for key, choose in (
            ("temperature", max),
            ("power", max),
            ("power_limit", min),
            ("power_default", max),
            ("sm_clock", min),
        ):
            values = [one[key] for one in loads if one[key] is not None]
            if values:
                found[key] = choose(values)
        return found

    def link(self):
        """The best that was read while copies ran: it takes a moment to speed up."""
        links = [one for one in self._links if None not in one.values()]
        return max(links, key=lambda one: (one["generation"], one["width"])) if links else {}


class _Phase:
    def __init__(self, watch, phase):
        self._watch, self._phase_name = watch, phase

    def __enter__(self):
        self._watch._phase = self._phase_name

    def __exit__(self, *_):
        self._watch._phase = ""
