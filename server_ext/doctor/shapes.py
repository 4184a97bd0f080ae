"""What each probe always tells, and of which kind.

Guarantees: pure; `problem` raises for no value. A check that reads what is declared here and finds
it missing, an error or of another kind has not looked, whatever it makes of that (report.py): what
was not told never counts as well. What may be missing by right is said here, too, or is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

_ABSENT = object()
_MOST = 300  # characters of an error that are told

# kind -> whether a value is of it. "error": {"error": ...} is an answer here, mostly because a
# finding tells of it, or because a card or a kernel of Linux need not know
_KINDS: Mapping[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "flag": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict | Mapping) and "error" not in value,
    "list": lambda value: isinstance(value, list),
    "none": lambda value: value is None,
    "error": lambda value: isinstance(value, Mapping) and "error" in value,
    "absent": lambda value: value is _ABSENT,
}

# probe -> path -> kinds; *: of each entry of a list or an object. Of an object that is an error and
# of a probe that says "asked": False, nothing more is expected
SHAPES: Mapping[str, Mapping[str, str]] = {
    "kernelspec": {
        "found": "flag",
        "name": "text",
        "is_python": "flag",
        "python_exists": "flag",
        "executable": "text",
        # of a kernel that is started by no kernel.json
        "problems": "list|absent",
        "problems.*": "text",
    },
    "environment": {"variables": "object", "variables.*": "text"},
    "reference": {
        # outside the image there is nothing to compare with
        "lock": "object|absent",
        "lock.*": "text",
        "versions": "object|absent",
        "versions.stack": "object",
        "versions.stack.cuda": "text",
        "versions.stack.cudnn": "integer",
        "environment_prefix": "text|absent",
    },
    "python": {
        "executable": "text",
        "version": "text",
        "prefix": "text",
        "user_site": "object",
        "user_site.path": "text",
        "user_site.on_path": "flag",
        "python_h": "flag",
        "shadows": "list",
        "shadows.*": "text",
        "folder": "text",
        "start_files": "list",
        "start_files.*": "text",
        "home": "object",
        # None: it is not set; the account has none
        "home.variable": "text|none",
        "home.account": "text|none",
        "locale": "list",
        "locale.*": "object",
        "locale.*.variable": "text",
    },
    "start": {
        "folders": "list",
        "folders.*": "object",
        "folders.*.answered": "flag",
        "folders.*.folder": "text",
        # what was tried after it did not answer
        "without_files": "flag|absent",
        "elsewhere": "flag|absent",
    },
    "start_variables": {"culprits": "list", "culprits.*": "text"},
    "packages": {
        "directories": "list",
        "directories.*": "object|error",
        "directories.*.directory": "text",
        "directories.*.base": "flag",
        "directories.*.distributions": "list",
        "directories.*.distributions.*": "object",
        "directories.*.distributions.*.name": "text",
        "directories.*.distributions.*.version": "text",
        "conda": "object",
        "conda.*": "text",
        "pip": "object",
        "pip.module": "flag",
    },
    "ipykernel": {"ok": "flag"},
    "ipykernel_culprit": {
        "culprits": "list",
        "culprits.*": "object",
        "culprits.*.name": "text",
        "variables": "list",
        "variables.*": "text",
    },
    "torch": {
        "ok": "flag",
        "torch": "object",
        "torch.version": "text",
        "torch.cuda": "text|none",
        "torch.file": "text|none",
        "torch.cudnn": "integer|none|error",
        "torch.arch_flags": "text|none",
        "torch.numpy": "text|error",
        "torch.numpy_installed": "flag",
        "torch.threads": "integer",
        "torch.allocator": "text|error",
        "torch.libraries": "object",
        "torch.libraries.*": "text",
        "torch.available": "flag|error",
        "torch.count": "integer",
        "torch.devices": "list",
        "torch.devices.*": "object",
        "torch.devices.*.capability": "list|error",
        "torch.devices.*.add": "number|error",
    },
    "torch_culprit": {
        "culprits": "list",
        "culprits.*": "object",
        "culprits.*.name": "text",
        "variables": "list",
        "variables.*": "text",
    },
    "extensions": {
        "modules": "list",
        "modules.*": "object|error",
        "modules.*.module": "text",
        "modules.*.ok": "flag",
        # only where one of the image's could not be imported
        "culprits": "list|absent",
        "culprits.*": "object",
        "culprits.*.name": "text",
    },
    "network": {
        "clock": "object",
        "clock.now": "number",
        "clock.hub": "number|absent",
        "made": "number|none",
        "proxies": "list",
        "proxies.*": "object",
        "proxies.*.variable": "text",
        "logins": "object",
        "logins.wandb": "flag",
    },
    "system": {
        "nodes": "object",
        "nodes.*": "object",
        "nodes.*.open": "text",
        "wsl": "flag",
        # not every sandbox shows it
        "driver": "text|error",
        "library_path": "list",
        "library_path.*": "object",
        "library_path.*.directory": "text",
        "library_path.*.libraries": "list",
        "preload": "list",
        "preload.*": "object",
        "preload.*.library": "text",
        "preload.*.exists": "flag|none",
    },
    "host": {
        "asked": "flag",
        "devices": "list",
        "devices.*": "object",
        "devices.*.uuid": "text",
        "devices.*.state": "text",
        "devices.*.shared": "flag|none",
        "devices.*.persistence": "flag|none",
        "devices.*.xids": "list",
        "devices.*.holders": "list|none",
        "missing_nodes": "list",
        "missing_nodes.*": "text",
    },
    "nvml": {
        "library": "object|error",
        "init": "object",
        "init.code": "integer",
        "driver": "text",
        "count": "integer",
        "devices": "list",
        "devices.*": "object|error",
        "devices.*.uuid": "text|error",
        "devices.*.compute_mode": "integer|error",
        "devices.*.memory": "object|error",
        "devices.*.memory.total": "integer",
        "devices.*.memory.used": "integer",
        "devices.*.memory.free": "integer",
        "devices.*.recovery_action": "integer|error",
        "devices.*.memory_health": "object",
        "devices.*.memory_health.uncorrected": "integer|error",
        "devices.*.memory_health.remapped_rows": "object|error",
        "devices.*.mig": "object|error",
        "devices.*.mig.enabled": "flag",
        "devices.*.mig.instances": "list",
    },
    "libcuda": {
        "library": "object|error",
        "version": "integer",
        "init": "object",
        "init.code": "integer",
        "count": "integer",
    },
    "resources": {
        "filesystems": "object",
        "filesystems.*": "object|error",
        "filesystems.shm": "object|error",
        "filesystems.work": "object|error",
        "filesystems.home": "object|error",
        "filesystems.tmp": "object|error",
        **{
            f"filesystems.{name}.{fact}": kind
            for name in ("shm", "work", "home", "tmp")
            for fact, kind in (
                ("path", "text"),
                ("writable", "flag"),
                ("bytes", "integer"),
                ("free_bytes", "integer"),
                ("inodes", "integer"),
                ("free_inodes", "integer"),
                ("device", "integer"),
            )
        },
        # None: the cgroup does not say
        "memory": "object",
        "memory.limit_bytes": "integer|none",
        "memory.oom_kills": "integer|none",
        "cpu": "object",
        "cpu.quota": "number|none",
        "limits": "object",
        **{
            f"limits.{name}": "integer"
            for name in ("nofile", "nproc", "memlock", "as", "data", "stack", "fsize", "cpu")
        },
        "pids": "object",
        "pids.limit": "integer|none",
        "pids.used": "integer|none",
        "infiniband": "list",
        "infiniband.*": "text",
        "missing_paths": "list",
        "missing_paths.*": "object",
        "missing_paths.*.variable": "text",
        "caches": "list",
        "caches.*": "object|error",
        "caches.*.variable": "text",
        "caches.*.path": "text",
        "caches.*.writable": "flag",
        "compiler": "text|none",
        "shm_leftovers": "list",
        "shm_leftovers.*": "object",
        "shm_leftovers.*.name": "text",
        "orphan_ranks": "list",
        "orphan_ranks.*": "object",
        "orphan_ranks.*.pid": "integer",
    },
    "running": {
        "asked": "flag",
        "state": "text",
        "pid": "integer",
        "executable": "text",
        "executable_deleted": "flag",
        "libraries": "list",
        "libraries.*": "object",
        "libraries.*.path": "text",
        "deleted": "list",
        "deleted.*": "text",
        "variables": "object",
        "variables.*": "text",
        # None: what a program that starts the kernel makes of them is not known
        "spec_variables": "object|none",
        "spec_variables.*": "text",
        "spec_python": "text|none",
    },
    "running_still": {"asked": "flag", "alive": "flag"},
    "asked": {
        "asked": "flag",
        "variables": "object",
        "variables.*": "text",
        "modules": "object",
        "modules.*": "object",
        "modules.*.version": "text",
        "modules.*.file": "text",
        "last_error": "object|none",
        "last_error.text": "text",
        "torch": "object|absent",
        "torch.initialized": "flag",
        "torch.benchmark": "flag",
        "torch.count": "integer",
        "torch.devices": "list",
        # a word of CUDA's about the device; what else kept it from being read is "unread"
        "torch.devices.*": "object|error",
        "torch.devices.*.unread": "absent",
        "torch.devices.*.out_of_memory": "integer",
        "torch.devices.*.allocated": "integer",
        "torch.devices.*.reserved": "integer",
        "torch.devices.*.unusable": "integer",
        "torch.devices.*.total": "integer",
    },
    "kernels": {
        "asked": "flag",
        "kernels": "list",
        "kernels.*": "object",
        "kernels.*.id": "text",
        "kernels.*.gpu": "flag",
        # None: it was not asked, or has no torch
        "kernels.*.gpu_bytes": "integer|none",
        "programs": "list",
        "programs.*": "object",
        "programs.*.pid": "integer",
        "programs.*.parent": "integer",
        "programs.*.command": "text",
    },
}

Value = Mapping[str, object]


def _nvml_started(value: Value) -> bool:
    init = value.get("init")
    return isinstance(init, Mapping) and init.get("code") == 0 or "init" not in value


def _has_library(value: Value) -> bool:
    return not _KINDS["error"](value.get("library"))


def _says(name: str, answer: object) -> Callable[[Value], bool]:
    """Whether a fact of the probe's is this, or is not told: then the others are missed, too."""
    return lambda value: value.get(name, answer) == answer


def _torch_may(name: str, answer: object) -> Callable[[Value], bool]:
    def may(value: Value) -> bool:
        torch = value.get("torch")
        return not isinstance(torch, Mapping) or torch.get(name, answer) == answer

    return may


def _whole(value: Value) -> bool:
    """Not cut short: a finding tells of an examination that hangs with the GPU."""
    return "cut_short" not in value


# probe -> beginning of a path -> when it is told at all
_WHEN: Mapping[str, Mapping[str, tuple[Callable[[Value], bool], ...]]] = {
    "kernelspec": {
        "is_python": (_says("found", True),),
        "python_exists": (_says("found", True), _says("is_python", True)),
        "executable": (_says("found", True), _says("is_python", True)),
    },
    "torch": {
        "torch": (_says("ok", True),),
        "torch.available": (_whole,),
        "torch.count": (_whole,),
        "torch.devices": (_whole, _torch_may("available", True)),
    },
    "nvml": {
        "init": (_has_library,),
        **{name: (_has_library, _nvml_started) for name in ("driver", "count", "devices")},
    },
    "libcuda": {
        **{name: (_has_library,) for name in ("version", "init")},
        "count": (_has_library, _nvml_started),
    },
    "running": {
        name: (_says("state", "alive"),)
        for name in (
            "pid",
            "executable",
            "executable_deleted",
            "libraries",
            "deleted",
            "variables",
            "spec_variables",
            "spec_python",
        )
    },
    "asked": {
        "torch.count": (_torch_may("initialized", True),),
        "torch.devices": (_torch_may("initialized", True),),
    },
}


@dataclass
class _Fact:
    kinds: tuple[str, ...] = tuple(_KINDS)
    when: tuple[Callable[[Value], bool], ...] = ()
    beneath: dict[str, _Fact] = field(default_factory=dict)

    def fits(self, found: object) -> bool:
        """Whether a value is of one of the kinds."""
        for kind in self.kinds:  # no generator: this is asked of each of thousands of packages
            if _KINDS[kind](found):
                return True
        return False


def _tree(probe: str) -> _Fact:
    root = _Fact()
    for path, kinds in SHAPES[probe].items():
        fact = root
        for key in path.split("."):
            fact = fact.beneath.setdefault(key, _Fact())
        fact.kinds, fact.when = tuple(kinds.split("|")), _WHEN.get(probe, {}).get(path, ())
    return root


_TREES: Mapping[str, _Fact] = {probe: _tree(probe) for probe in SHAPES}


def problem(probe: str, value: Value, path: tuple[str, ...]) -> str:
    """Why a fact, or one of those in it, was not told as its probe always does; for people, in
    English; "" if nothing is wrong. value: all that the probe told.
    """
    fact = _TREES.get(probe)
    if fact is None or value.get("asked") is False or not path:
        return ""
    found: object = value
    for depth, key in enumerate(path, 1):
        one = fact.beneath.get(key) or fact.beneath.get("*")
        if one is None or not all(may(value) for may in one.when):
            return ""
        if fact.beneath.get(key) is None and not (isinstance(found, Mapping) and key in found):
            return ""  # one of many, which need not be there
        found = found.get(key, _ABSENT) if isinstance(found, Mapping) else _ABSENT
        fact = one
        if wrong := _mismatch(fact, found, path[:depth]):
            return wrong
        if found is _ABSENT or found is None or _KINDS["error"](found):
            return ""
    return next(_wrong_in(fact, found, path, value), "")


def _wrong_in(fact: _Fact, found: object, path: tuple[str, ...], value: Value) -> Iterator[str]:
    """What is wrong with the facts beneath one."""
    for key, one in fact.beneath.items():
        if one.when and not all(may(value) for may in one.when):
            continue
        for name, item in _entries(key, found, fact):
            if not one.fits(item):
                yield _mismatch(one, item, (*path, name))
            elif one.beneath and not (item is None or item is _ABSENT or _KINDS["error"](item)):
                yield from _wrong_in(one, item, (*path, name), value)


def _entries(key: str, found: object, fact: _Fact) -> Iterator[tuple[str, object]]:
    if isinstance(found, list):
        if key == "*":
            yield from ((str(number), item) for number, item in enumerate(found))
    elif isinstance(found, Mapping):
        if key != "*":
            yield key, found.get(key, _ABSENT)
        else:
            yield from ((str(n), item) for n, item in found.items() if str(n) not in fact.beneath)


def _mismatch(fact: _Fact, found: object, path: tuple[str, ...]) -> str:
    if fact.fits(found):
        return ""
    named = ".".join(path)
    if found is _ABSENT or found is None:
        return f"no {named}"
    if isinstance(found, Mapping) and "error" in found:
        return f"{named}: {' '.join(str(found['error']).split())[:_MOST]}"
    if fact.kinds == ("absent",):
        return f"{named}: {' '.join(str(found).split())[:_MOST]}"
    return f"{named} is no {' or '.join(fact.kinds)}"
