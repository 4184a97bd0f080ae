"""Space, memory, CPU and limits of this container, from the file systems, cgroups (v1 and v2) and
/proc; and what the variables that name files and folders lead to.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import stat
from typing import Any

_NO_LIMIT = 2**60  # cgroup v1 writes a huge number for "no limit"

_LIMITS = ("nofile", "nproc", "memlock", "as", "data", "stack", "fsize", "cpu")
# variables -> what programs need there
_MUST_EXIST = (
    "CUDA_HOME",
    "CUDA_PATH",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "PIP_CONFIG_FILE",
    "PIP_CONSTRAINT",
    "PIP_REQUIREMENT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
)
_CACHES = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "TRANSFORMERS_CACHE",
    "TORCH_HOME",
    "TORCH_EXTENSIONS_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "PIP_CACHE_DIR",
    "XDG_CACHE_HOME",
    "MPLCONFIGDIR",
    "WANDB_DIR",
)
_IN_MEMORY = {"tmpfs", "ramfs"}


def collect(arguments):
    """arguments: work folder, home folder."""
    work, home = (arguments + [os.getcwd(), os.path.expanduser("~")])[:2]
    return {
        "filesystems": {
            name: filesystem(path)
            for name, path in (("shm", "/dev/shm"), ("work", work), ("home", home), ("tmp", "/tmp"))
        },
        "memory": memory(),
        "cpu": {"quota": cpu_quota(), "usable": len(os.sched_getaffinity(0))},
        "limits": limits(),
        "pids": pids(),
        "infiniband": sorted(_listdir("/dev/infiniband"))[:20],
        "missing_paths": missing_paths(),
        "caches": caches(home),
        "compiler": shutil.which("gcc") or shutil.which("cc") or shutil.which("clang"),
        "shm_leftovers": shm_leftovers(),
        "orphan_ranks": orphan_ranks(),
    }


def filesystem(path: str) -> dict[str, Any]:
    """{path, writable, read_only, bytes, free_bytes, inodes, free_inodes, device}; free, writable:
    for this user.
    """
    try:
        facts = os.statvfs(path)
        device = os.stat(path).st_dev
    except OSError as error:
        return {"path": path, "error": str(error)}
    return {
        "path": path,
        "writable": os.access(path, os.W_OK | os.X_OK),
        "read_only": bool(facts.f_flag & os.ST_RDONLY),
        "bytes": facts.f_blocks * facts.f_frsize,
        "free_bytes": facts.f_bavail * facts.f_frsize,
        "inodes": facts.f_files,
        "free_inodes": facts.f_favail,
        "device": device,
    }


def memory() -> dict[str, int | None]:
    """{limit_bytes, used_bytes, oom_kills}; None where the cgroup does not say."""
    group = "/sys/fs/cgroup"
    if os.path.exists(group + "/cgroup.controllers"):
        return {
            "limit_bytes": _number(group + "/memory.max"),
            "used_bytes": _number(group + "/memory.current"),
            "oom_kills": _keyed(group + "/memory.events", "oom_kill"),
        }
    group += "/memory"
    limit = _number(group + "/memory.limit_in_bytes")
    return {
        "limit_bytes": limit if limit is not None and limit < _NO_LIMIT else None,
        "used_bytes": _number(group + "/memory.usage_in_bytes"),
        "oom_kills": _keyed(group + "/memory.oom_control", "oom_kill"),
    }


def cpu_quota(root: str = "/sys/fs/cgroup") -> float | None:
    """CPUs that the cgroup's quota allows (may be a fraction), or None."""
    words = _words(root + "/cpu.max")
    if len(words) == 2 and words[0] != "max":
        return _ratio(words[0], words[1])
    for group in (root + "/cpu", root + "/cpu,cpuacct"):
        quota = _words(group + "/cpu.cfs_quota_us")
        period = _words(group + "/cpu.cfs_period_us")
        if quota and period and quota[0] != "-1":
            return _ratio(quota[0], period[0])
    return None


def limits() -> dict[str, int]:
    """This process's limits by name; -1: none."""
    return {
        name: resource.getrlimit(getattr(resource, "RLIMIT_" + name.upper()))[0] for name in _LIMITS
    }


def pids() -> dict[str, int | None]:
    """{limit, used} of processes and threads in the container; None: the cgroup does not say."""
    for group in ("/sys/fs/cgroup", "/sys/fs/cgroup/pids"):
        used = _number(group + "/pids.current")
        if used is not None:
            return {"limit": _number(group + "/pids.max"), "used": used}
    return {"limit": None, "used": None}


def missing_paths():
    """[{variable, path}] of variables whose file or folder is not there, or may not be read."""
    found = []
    for variable in _MUST_EXIST:
        path = os.environ.get(variable)
        # several of SSL_CERT_DIR, a list of PIP_CONSTRAINT; a URL is not looked at
        parts = re.split("[: ]" if variable == "SSL_CERT_DIR" else " ", path or "")
        for part in parts:
            if part and "://" not in part and not os.access(part, os.R_OK):
                found.append({"variable": variable, "path": part[:500]})
                break
    return found


def caches(home: str) -> list[dict[str, Any]]:
    """[{variable, path, exists, writable, in_memory, bytes, free_bytes}] of the folders where
    programs keep what they download or compile; what is not there: of where it would be made.
    """
    mounts = _mounts()
    named = [(name, os.environ[name]) for name in _CACHES if os.environ.get(name)]
    found = []
    for variable, value in [*named, ("", os.path.join(home, ".cache"))]:
        path = os.path.abspath(os.path.expanduser(value))
        place = path
        while not os.path.lexists(place) and place != "/":
            place = os.path.dirname(place)
        try:
            facts = os.statvfs(place)
        except OSError as error:
            found.append({"variable": variable, "path": path, "error": str(error)})
            continue
        found.append(
            {
                "variable": variable,
                "path": path,
                "exists": place == path,
                "writable": os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK),
                "in_memory": _type_of(mounts, os.path.realpath(place)) in _IN_MEMORY,
                "bytes": facts.f_blocks * facts.f_frsize,
                "free_bytes": facts.f_bavail * facts.f_frsize,
            }
        )
    return found


def _mounts():
    """[(mount point, type)], the deepest last."""
    found = []
    try:
        with open("/proc/self/mounts") as lines:
            for line in lines:
                words = line.split()
                if len(words) > 2:
                    found.append((words[1].replace("\\040", " "), words[2]))
    except OSError:
        pass
    return sorted(found, key=lambda mount: len(mount[0]))


def _type_of(mounts, path):
    """The type of the file system that a path is on, or ""."""
    kind = ""
    for point, of_type in mounts:
        if path == point or path.startswith(point.rstrip("/") + "/"):
            kind = of_type
    return kind


def shm_leftovers():
    """[{name, bytes}] of NCCL's and torch's files in /dev/shm that no process uses."""
    candidates = []
    try:
        with os.scandir("/dev/shm") as entries:
            for entry in entries:
                if entry.name.startswith(("nccl-", "torch_")) and len(candidates) < 1000:
                    facts = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(facts.st_mode) and facts.st_uid == os.getuid():
                        candidates.append((entry.name, facts.st_size, facts.st_ino))
    except OSError:
        return []
    if not candidates:
        return []
    used = set()
    for pid in _pids():
        try:
            with open("/proc/%s/maps" % pid) as maps:
                used.update(line.rstrip("\n").partition("/dev/shm/")[2] for line in maps)
            for fd in os.listdir("/proc/%s/fd" % pid):
                target = os.readlink("/proc/%s/fd/%s" % (pid, fd))
                used.add(target.partition("/dev/shm/")[2])
        except OSError:
            continue
    used = {name.partition(" (deleted)")[0] for name in used}
    return [{"name": name, "bytes": size} for name, size, _ in candidates if name not in used]


def orphan_ranks():
    """[{pid, command}] of torchrun ranks whose agent is gone (parent: the container's first
    process).
    """
    found = []
    for pid in _pids():
        try:
            with open("/proc/%s/stat" % pid) as stream:
                parent = stream.read().rpartition(")")[2].split()[1]
            if parent != "1":
                continue
            with open("/proc/%s/environ" % pid, "rb") as stream:
                names = {item.partition(b"=")[0] for item in stream.read().split(b"\0")}
            if not {b"TORCHELASTIC_RUN_ID", b"LOCAL_RANK"} <= names:
                continue
            with open("/proc/%s/cmdline" % pid, "rb") as stream:
                words = stream.read(4000).split(b"\0")
            command = b" ".join(words).decode("utf-8", "replace").strip()
        except OSError:
            continue
        found.append({"pid": int(pid), "command": command[:200]})
    return found


def _pids():
    return [name for name in _listdir("/proc") if name.isdigit()]


def _listdir(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def _words(path):
    try:
        with open(path) as stream:
            return stream.read(4096).split()
    except OSError:
        return []


def _number(path):
    words = _words(path)
    return int(words[0]) if words and words[0].isdigit() else None


def _keyed(path, key):
    words = _words(path)
    for name, value in zip(words[::2], words[1::2]):  # noqa: B905 - Python 3.8 has no strict
        if name == key and value.isdigit():
            return int(value)
    return None


def _ratio(quota, period):
    try:
        return round(int(quota) / int(period), 3) if int(period) > 0 else None
    except ValueError:
        return None
