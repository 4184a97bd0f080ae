"""When a declared fact is told at all.

Guarantees: pure; a condition takes all that a probe told, whatever that is, and raises for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .kinds import KINDS

Value = Mapping[str, object]  # all that a probe told
Condition = Callable[[Value], bool]


def _started(value: Value) -> bool:
    init = value.get("init")
    return isinstance(init, Mapping) and init.get("code") == 0 or "init" not in value


def _has_library(value: Value) -> bool:
    return not KINDS["error"](value.get("library"))


def _says(name: str, answer: object) -> Condition:
    """Whether a fact of the probe's is this, or is not told: then the others are missed, too."""
    return lambda value: value.get(name, answer) == answer


def _torch_may(name: str, answer: object) -> Condition:
    def may(value: Value) -> bool:
        torch = value.get("torch")
        return not isinstance(torch, Mapping) or torch.get(name, answer) == answer

    return may


def _whole(value: Value) -> bool:
    """Not cut short: a finding tells of an examination that hangs with the GPU."""
    return "cut_short" not in value


# probe -> beginning of a path -> when it is told at all
WHEN: Mapping[str, Mapping[str, tuple[Condition, ...]]] = {
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
        **{name: (_has_library, _started) for name in ("driver", "count", "devices")},
    },
    "libcuda": {
        **{name: (_has_library,) for name in ("version", "init")},
        "count": (_has_library, _started),
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
