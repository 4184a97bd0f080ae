"""Runs one probe in this process and prints its facts as one marked JSON line.

Guarantees: whatever the environment prints goes to stderr, so that stdout has the marked line
only (and what was printed before this file ran); the probe's own folder is not on sys.path, so
nothing here can shadow a module of the kernel; sys.argv is the probe's own; a probe that may hang
ends when whoever started it is killed.
"""

from __future__ import annotations

import os
import sys

_MAY_HANG = ("imports", "extensions", "nvml", "libcuda", "start")
_PR_SET_PDEATHSIG = 1


def end_with_parent():  # type: ignore[no-untyped-def]
    """A doctor that is killed can end nothing any more: the kernel of the system does it then."""
    try:
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except Exception:  # noqa: S110 - what is wrong with ctypes is told by what needs it
        pass


def main():  # type: ignore[no-untyped-def]
    folder = os.path.dirname(os.path.abspath(__file__))
    # Python put this folder first; a kernel (`-m ipykernel_launcher`) does not have it
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != folder]
    answer_fd = os.dup(1)
    os.dup2(2, 1)

    import importlib.util
    import json

    name, arguments = sys.argv[1], sys.argv[2:]
    if name in _MAY_HANG:
        end_with_parent()
    spec = importlib.util.spec_from_file_location(
        "gpucamp_probe_" + name, os.path.join(folder, name + ".py")
    )
    probe = importlib.util.module_from_spec(spec)
    # registered, because dataclasses and pickling look a module up by its name
    sys.modules[spec.name] = probe
    spec.loader.exec_module(probe)

    def say(mark, facts):  # type: ignore[no-untyped-def]
        line = "\x1egpucamp-probe" + mark + json.dumps(facts) + "\n"
        data = line.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(answer_fd, data) :]

    facts = probe.collect(arguments)
    if not isinstance(facts, dict):
        for so_far in facts:
            say("+ ", so_far)
            facts = so_far
    say(" ", facts)
    sys.stderr.flush()
    # no interpreter shutdown: a broken library may hang or crash there, and the facts are out
    os._exit(0)


if __name__ == "__main__":
    main()
