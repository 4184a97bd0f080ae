"""What /proc tells about running processes: the kernel that is examined, or all that use the GPU.

Reading maps or environ waits for a process that is stuck in the driver: hence a process of its own
with a time limit. Of the environment nothing is told whose name looks like a secret's.
"""

from __future__ import annotations

import os
import re

_PYTHON = re.compile(r"^(python|pypy)[0-9.]*$")
_LIBRARY = re.compile(
    r"^lib(cuda|cudart|cublas|cublasLt|cudnn\w*|nvJitLink|nccl|cusparse|cusparseLt|cusolver"
    r"|cufft|curand|torch|torch_cuda|torch_cpu|torch_python|c10|c10_cuda)(-[0-9a-f]{8})?\.so(\.|$)"
)
_SECRET = re.compile(r"token|secret|passw|api[-_]?key|credential", re.I)
_DELETED = " (deleted)"
_MOST_MAPS = 32 * 2**20  # bytes
_MOST_ENVIRON = 256 * 2**10
_MOST_VARIABLE = 32 * 2**10
_MOST_PROCESSES = 64
_MOST_FILES = 200


def collect(arguments):
    """arguments: "one", pid, a word of the kernel's command line, the pid that the kernel says it
    has or "", a pattern of names that are not told; or "all", then "pid:word" of each kernel.
    """
    if arguments[0] == "one":
        pid, word, said, secret = arguments[1:5]
        return one(find(int(pid), word, int(said) if said else 0), re.compile(secret, re.I))
    return everyone([item.partition(":") for item in arguments[1:]])


# ---- one process


def one(pid, secret):
    """{state: "alive" | "ended" | "foreign" | "unreadable", pid, started, argv, executable, cwd,
    environ, libraries, deleted, ...}.
    """
    facts = {"pid": pid}
    try:
        facts.update(stat(pid))
    except (OSError, ValueError, IndexError):
        facts["state"] = "ended"
        return facts
    if facts.pop("letter") in "ZX":
        facts["state"] = "ended"
        facts["detail"] = "it has ended, and nobody has taken notice of it (zombie)"
        return facts
    try:
        facts["argv"] = argv(pid)
        executable = os.readlink("/proc/%d/exe" % pid)
        facts["executable_deleted"] = executable.endswith(_DELETED)
        facts["executable"] = _without_mark(executable)
        facts["cwd"] = os.readlink("/proc/%d/cwd" % pid)
        facts["environ"] = environ(pid, secret)
        facts.update(mapped(pid))
        facts["state"] = "alive"
    except PermissionError as error:
        facts["state"] = "foreign"
        facts["detail"] = str(error)
    except OSError as error:
        facts["state"] = "unreadable" if os.path.exists("/proc/%d" % pid) else "ended"
        facts["detail"] = str(error)
    return facts


def find(pid, word, said):
    """The process that is the kernel: the one started, or one beneath it, if it was started through
    another program.
    """
    if not word:
        return pid
    candidates = [each for each in family(pid) if word in " ".join(_argv_or_nothing(each))]
    if said in candidates:
        return said
    for plain in (True, False):
        for candidate in candidates:
            words = _argv_or_nothing(candidate)
            if _PYTHON.match(os.path.basename(words[0])) and (not plain or _runs_a_module(words)):
                return candidate
    return pid


def _runs_a_module(words):
    """Whether it is `python [options] -m MODULE ...`."""
    rest = words[1:]
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c"):
        rest = rest[2:] if rest[0] in ("-X", "-W") else rest[1:]
    return rest[:1] == ["-m"]


def family(pid):
    """A process and all beneath it, parents first."""
    children = {}
    for other in _pids():
        try:
            children.setdefault(stat(other)["parent"], []).append(other)
        except (OSError, ValueError, IndexError):
            continue
    found, position = [pid], 0
    while position < len(found) and len(found) < 1000:
        found.extend(sorted(children.get(found[position], [])))
        position += 1
    return found


def stat(pid):
    """{letter, parent, started}; started: in ticks since the machine's start."""
    with open("/proc/%d/stat" % pid) as stream:
        fields = stream.read(4096).rpartition(")")[2].split()
    return {"letter": fields[0], "parent": int(fields[1]), "started": int(fields[19])}


def argv(pid):
    """The command line, shortened, without the values of what looks like a secret's option."""
    with open("/proc/%d/cmdline" % pid, "rb") as stream:
        words = stream.read(16384).split(b"\0")[:-1]
    told, hide = [], False
    for word in (os.fsdecode(word)[:1000] for word in words[:64]):
        name, equals, _ = word.partition("=")
        if hide:
            word, hide = "***", False
        elif _SECRET.search(name) and equals:
            word = name + "=***"
        elif _SECRET.search(word) and word.startswith("-"):
            hide = True
        told.append(word)
    return told


def environ(pid, secret):
    """The environment that the process was started with, without what looks like a secret."""
    with open("/proc/%d/environ" % pid, "rb") as stream:
        items = stream.read(_MOST_ENVIRON).split(b"\0")
    found = {}
    for item in items:
        name, equals, value = os.fsdecode(item).partition("=")
        if equals and name and not secret.search(name) and len(value) <= _MOST_VARIABLE:
            found[name] = value
    return found


def mapped(pid):
    """{libraries: [{path, deleted}] of CUDA and torch, deleted: files that are loaded but no longer
    there, gpu: whether the driver's library is loaded}.
    """
    libraries, deleted, left = {}, [], _MOST_MAPS
    with open("/proc/%d/maps" % pid, "rb") as stream:
        for raw in stream:
            left -= len(raw)
            if left < 0:
                break
            path = os.fsdecode(raw.rstrip(b"\n").partition(b"/")[2])
            if not path:
                continue
            gone, path = path.endswith(_DELETED), "/" + _without_mark(path)
            name = os.path.basename(path)
            if _LIBRARY.match(name):
                libraries[path] = gone
            if gone and re.search(r"\.so(\.|$)", name) and path not in deleted:
                deleted.append(path)
    return {
        "libraries": [
            {"path": path, "deleted": gone}
            for path, gone in sorted(libraries.items())[:_MOST_FILES]
        ],
        "deleted": deleted[:_MOST_FILES],
        "gpu": any(os.path.basename(path).startswith("libcuda.so") for path in libraries),
    }


# ---- all that use the GPU


def everyone(kernels):
    """{kernels: [{pid, word, gpu, torch, resident_bytes}], programs: [{pid, command, parent}] that
    use the GPU and belong to no kernel}.
    """
    found, families = [], set()
    for root, _, word in kernels[:_MOST_PROCESSES]:
        members = family(int(root))
        families.update(members)
        pid = find(int(root), word, 0)
        entry = {"pid": pid, "word": word, "gpu": False, "torch": False, "members": members[:200]}
        try:
            seen = mapped(pid)
            names = [os.path.basename(item["path"]) for item in seen["libraries"]]
            entry["gpu"] = seen["gpu"] or has_node_open(pid)
            entry["torch"] = any(name.startswith("libtorch") for name in names)
            entry["resident_bytes"] = resident(pid)
        except (OSError, ValueError):
            entry["gone"] = True
        found.append(entry)
    programs = []
    for pid in _pids():
        if pid in families or pid == os.getpid() or len(programs) >= _MOST_PROCESSES:
            continue
        try:
            if stat(pid)["letter"] not in "ZX" and mapped(pid)["gpu"]:
                command = " ".join(argv(pid))[:200]
                programs.append({"pid": pid, "command": command, "parent": stat(pid)["parent"]})
        except (OSError, ValueError, IndexError):
            continue
    return {"kernels": found, "programs": programs}


def has_node_open(pid):
    """Whether it has a card's device node open."""
    folder = "/proc/%d/fd" % pid
    for fd in os.listdir(folder)[:4096]:
        try:
            if re.match(r"^/dev/nvidia\d+$", os.readlink(folder + "/" + fd)):
                return True
        except OSError:
            continue
    return False


def resident(pid):
    """Bytes of memory of the host."""
    with open("/proc/%d/statm" % pid) as stream:
        return int(stream.read(200).split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _argv_or_nothing(pid):
    try:
        return argv(pid) or [""]
    except OSError:
        return [""]


def _without_mark(path):
    return path[: -len(_DELETED)] if path.endswith(_DELETED) else path


def _pids():
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
