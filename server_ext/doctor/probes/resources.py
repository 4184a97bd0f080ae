"""Space, memory, CPU and limits of this container, from the file systems, cgroups (v1 and v2) and
/proc.
"""

from __future__ import annotations

import os
import resource
import shutil
import stat
from typing import Any

_NO_LIMIT = 2**60  # cgroup v1 writes a huge number for "no limit"


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
        "limits": {"nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0]},
        "compiler": shutil.which("gcc") or shutil.which("cc") or shutil.which("clang"),
        "shm_leftovers": shm_leftovers(),
        "orphan_ranks": orphan_ranks(),
    }


def filesystem(path: str) -> dict[str, Any]:
    """{path, bytes, free_bytes, inodes, free_inodes, device}; free: for this user."""
    try:
        facts = os.statvfs(path)
        device = os.stat(path).st_dev
    except OSError as error:
        return {"path": path, "error": str(error)}
    return {
        "path": path,
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
    try:
        return [name for name in os.listdir("/proc") if name.isdigit()]
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
