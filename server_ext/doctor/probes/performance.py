"""Measures torch on the GPUs and on the CPU; runs in the kernel's own Python, as a program.

arguments: seconds after which it ends itself, whatever happens; where the cgroup is mounted.

Guarantees: prints all that it knows so far after each step, as a marked JSON line, and a last line
with another mark; takes a small share of the memory that is free, and less of a GPU that is in use;
is the first process that the kernel ends when memory runs out; does not outlive who started it.
Needs nothing but the standard library and torch.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import json
import os
import signal
import sys
import time

# as probing.py has them
MARK, PARTIAL = "\x1egpucamp-probe ", "\x1egpucamp-probe+ "
MIB, GIB = 2**20, 2**30
CGROUP = "/sys/fs/cgroup"

MOST_DEVICES = 8
# what importing torch, and using a GPU, takes of the server's memory
LEAST_MEMORY, LEAST_MEMORY_GPU = 512 * MIB, 1536 * MIB
# seconds that a figure may take: of one or two GPUs, of more
TURN, SHORT_TURN = 0.3, 0.1


class Paper:
    """What is known so far; each change is told."""

    def __init__(self, fd):
        self._fd = fd
        self.facts = {"devices": [], "cpu": {"figures": []}, "skipped": [], "done": 0, "steps": 1}

    def tell(self, mark=PARTIAL):
        data = (mark + json.dumps(self.facts) + "\n").encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._fd, data) :]

    def step(self, name):
        self.facts["step"] = name
        self.facts["done"] += 1
        self.tell()

    def skip(self, name, reason, detail=""):
        entry = {"name": name, "reason": reason, "detail": str(detail)[:300]}
        if entry not in self.facts["skipped"]:
            self.facts["skipped"].append(entry)


def main():
    global CGROUP
    CGROUP = sys.argv[2]
    guard(int(sys.argv[1]))
    answer = os.dup(1)
    os.dup2(2, 1)
    folder = os.path.dirname(os.path.abspath(__file__))
    # a kernel does not have this folder, whose files could shadow modules
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != folder]
    paper = Paper(answer)
    measure(paper)
    paper.facts["step"] = ""
    paper.tell(MARK)
    sys.stderr.flush()
    os._exit(0)  # a broken library may hang or crash in the interpreter's shutdown


def guard(seconds):
    """What keeps this process from hurting others or staying for ever."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)  # even when Python itself hangs in a driver's call
    try:
        # not by run_probe.py's end_with_parent: this is a program of its own
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        pass
    try:
        with open("/proc/self/oom_score_adj", "w") as stream:
            stream.write("1000")
    except OSError:
        pass
    try:
        os.nice(5)
    except OSError:
        pass


def beside(name):
    """The module in the file of this name beside this one."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("gpucamp_" + name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(paper):
    memory = free_memory()
    if memory is not None and memory < LEAST_MEMORY:
        paper.skip("all", "memory", "%d MiB" % (memory // MIB))
        return
    paper.step("torch")
    try:
        import torch
    except BaseException as error:  # SystemExit, too: a module may do anything
        paper.skip("all", "torch-missing", "%s: %s" % (type(error).__name__, error))
        return
    for name in ("mm", "set_float32_matmul_precision", "cuda"):
        if not hasattr(torch, name):
            paper.skip("all", "torch-missing", "torch has no " + name)
            return
    gc.disable()
    facts = paper.facts
    facts["torch"], facts["cuda"] = str(torch.__version__), torch.version.cuda
    indices = usable_gpus(torch, paper, memory)
    names = ["cpu-matmul-fp32", "cpu-copy"]
    facts["steps"] = 1 + len(names) + len(indices) * 9
    with_gpus(torch, paper, indices)
    try:
        with_cpu(torch, paper, memory)
    except MemoryError as error:
        paper.skip("cpu", "failed", error)
    except RuntimeError as error:
        paper.skip("cpu", "failed", error)
    facts["memory_free"] = free_memory()


# -- this server's memory and CPU (cgroup v2 and v1)


def number(path, key=None):
    """A number of a cgroup's file, or the one after `key`; None without."""
    try:
        with open(path) as stream:
            words = stream.read(65536).split()
    except OSError:
        return None
    if key is not None:
        words = words[words.index(key) + 1 :] if key in words else []
    return int(words[0]) if words and words[0].isdigit() else None


def free_memory():
    """Bytes that may still be used in this container, or None."""
    free = []
    for limit, used, stat, file in (
        ("/memory.max", "/memory.current", "/memory.stat", "file"),
        (
            "/memory/memory.limit_in_bytes",
            "/memory/memory.usage_in_bytes",
            "/memory/memory.stat",
            "total_cache",
        ),
    ):
        most, now = number(CGROUP + limit), number(CGROUP + used)
        if most is not None and now is not None and most < 2**60:
            free.append(most - now + (number(CGROUP + stat, file) or 0))
    available = number("/proc/meminfo", "MemAvailable:")
    if available is not None:
        free.append(available * 1024)
    return max(0, min(free)) if free else None


def throttled():
    """Seconds that the CPU limit made this container's threads wait so far, or None."""
    microseconds = number(CGROUP + "/cpu.stat", "throttled_usec")
    if microseconds is not None:
        return microseconds / 1e6
    for group in (CGROUP + "/cpu", CGROUP + "/cpu,cpuacct"):
        nanoseconds = number(group + "/cpu.stat", "throttled_time")
        if nanoseconds is not None:
            return nanoseconds / 1e9
    return None


def cpu_quota():
    """CPUs that the limit allows, or None."""
    try:
        with open(CGROUP + "/cpu.max") as stream:
            quota, period = stream.read(100).split()
            return int(quota) / int(period)
    except (OSError, ValueError):
        pass
    for group in (CGROUP + "/cpu", CGROUP + "/cpu,cpuacct"):
        quota, period = number(group + "/cpu.cfs_quota_us"), number(group + "/cpu.cfs_period_us")
        if quota and period:
            return quota / period
    return None


def memory_pressure():
    """% of the last ten seconds in which something waited for memory, or None."""
    try:
        with open(CGROUP + "/memory.pressure") as stream:
            for word in stream.read(300).split():
                if word.startswith("avg10="):
                    return float(word[6:])  # of the first line: some program waited
    except (OSError, ValueError):
        pass
    return None


def with_cpu(torch, paper, memory):
    facts = paper.facts["cpu"]
    facts["threads"], facts["quota"] = torch.get_num_threads(), cpu_quota()
    before, started = throttled(), time.perf_counter()
    paper.step("cpu-matmul-fp32")
    size = 1024
    a, b = torch.rand(size, size), torch.rand(size, size)
    out = torch.empty(size, size)
    seconds = timed(lambda: torch.mm(a, b, out=out), TURN)
    facts["figures"].append(
        {"name": "cpu-matmul-fp32", "value": 2 * size**3 / seconds, "size": size}
    )
    after, ended = throttled(), time.perf_counter()
    if before is not None and after is not None:
        # of all its threads: more than the time that passed, where many of them waited
        facts["throttled_share"] = min(1.0, (after - before) / (ended - started))
    paper.step("cpu-copy")
    count = int(min(64 * MIB, (memory or GIB) * 0.05)) // 4
    source, target = torch.rand(count), torch.empty(count)
    seconds = timed(lambda: target.copy_(source), TURN / 2)
    # each byte is read once and written once
    facts["figures"].append({"name": "cpu-copy", "value": 8 * count / seconds, "size": 4 * count})
    facts["memory_pressure"] = memory_pressure()
    paper.tell()


def timed(work, budget):
    """Median seconds of a call, after one that does not count."""
    work()
    times, end = [], time.perf_counter() + budget
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return max(sorted(times)[len(times) // 2], 1e-9)


# -- the GPUs


def usable_gpus(torch, paper, memory):
    """The numbers of the GPUs to be measured; why there is none, or not all, goes to the paper."""
    if torch.version.cuda is None:
        paper.skip("gpu", "cpu-torch", torch.__version__)
        return []
    try:
        if not torch.cuda.is_available():
            if os.environ.get("GPUCAMP_SIMULATED") == "1":
                paper.skip("gpu", "practice")
            elif not any(
                name.startswith("nvidia") and name[6:].isdigit() for name in os.listdir("/dev")
            ):
                paper.skip("gpu", "no-gpu")
            else:
                torch.cuda.init()  # says why
                paper.skip("gpu", "cuda-fails", "torch.cuda.is_available() is False")
            return []
        count = torch.cuda.device_count()
    except Exception as error:
        paper.skip("gpu", "cuda-fails", "%s: %s" % (type(error).__name__, error))
        return []
    if memory is not None and memory < LEAST_MEMORY_GPU:
        paper.skip("gpu", "memory", "%d MiB" % (memory // MIB))
        return []
    if count > MOST_DEVICES:
        paper.skip("gpu", "too-many", MOST_DEVICES)
    return list(range(min(count, MOST_DEVICES)))


def with_gpus(torch, paper, indices):
    gpu = beside("performance_gpu")
    nvml = gpu.Nvml()
    turn = TURN if len(indices) <= 2 else SHORT_TURN
    for index in indices:
        shared = os.environ.get("GPUCAMP_SHARED") == "1"
        device = {"index": index, "name": "", "figures": [], "light": False, "shared": shared}
        paper.facts["devices"].append(device)
        try:
            gpu.Gpu(torch, paper, device, nvml, turn, free_memory).measure()
        except Exception as error:
            text = "%s: %s" % (type(error).__name__, str(error)[:1000])
            if gpu.says_memory(error):
                paper.skip("cuda:%d" % index, "gpu-memory", text)
            elif not any(word in text.lower() for word in ("cuda", "cublas", "accelerator", "ecc")):
                paper.skip("cuda:%d" % index, "failed", text)
            else:
                # an error of the card; after it, this process can use no GPU any more
                device["error"] = text
                paper.tell()
                for rest in indices[indices.index(index) + 1 :]:
                    paper.skip("cuda:%d" % rest, "not-measured")
                return


if __name__ == "__main__":
    main()
