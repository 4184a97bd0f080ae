"""Imports packages that were installed beside torch, each in a child of its own after torch, and
says how it went: what was built for another torch, another NumPy or another CUDA shows only then.

arguments: the modules. A child that takes longer than SECONDS is ended.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import time

from __main__ import end_with_parent  # of run_probe.py, which runs this

SECONDS = 20.0
_TAIL = 3000


def collect(arguments):
    """{modules: [{module, ok, error: {type, message}, ended, said}]}, ever more of them.

    ended: how a child that gave no answer ended; said: the end of what it wrote to stderr.
    """
    try:
        importlib.import_module("torch")  # once for all of them; what it lacks is told elsewhere
    except BaseException:  # noqa: S110
        pass
    facts = {"modules": []}
    yield facts
    for module in arguments:
        facts["modules"].append({"module": module, **_in_child(module)})
        yield facts


def _in_child(module):
    answer, give = os.pipe()
    errors, complain = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            end_with_parent()  # a child does not inherit it
            os.dup2(complain, 2)
            os.dup2(complain, 1)
            os.write(give, json.dumps(_imported(module)).encode("utf-8", "backslashreplace"))
        finally:
            os._exit(0)
    os.close(give)
    os.close(complain)
    try:
        said, output, in_time = _read(answer, errors)
    finally:
        os.close(answer)
        os.close(errors)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    tail = said.decode("utf-8", "replace")
    try:
        return {**json.loads(output), "said": tail}
    except ValueError:
        pass
    ended = "no answer in time" if not in_time else "ended"
    if in_time and os.WIFSIGNALED(status):
        ended = "ended by signal %d" % os.WTERMSIG(status)
    return {"ok": False, "ended": ended, "said": tail}


def _imported(module):
    try:
        importlib.import_module(module)
    except BaseException as error:  # SystemExit, too: a module may do anything
        return {
            "ok": False,
            "error": {"type": type(error).__name__, "message": str(error)[:2000]},
        }
    return {"ok": True}


def _read(answer, errors):
    """What the child said on stderr (its end) and what it answered, until it ends or time is up."""
    said, output = b"", b""
    end = time.monotonic() + SECONDS
    while answer is not None:
        left = end - time.monotonic()
        ready, _, _ = select.select([fd for fd in (answer, errors) if fd], [], [], max(left, 0))
        if not ready:
            return said, output, False
        for fd in ready:
            data = os.read(fd, 65536)
            if fd == answer:
                output += data
                if not data or len(output) > 100000:
                    answer = None
            elif data:
                said = (said + data)[-_TAIL:]
            else:
                errors = None
    return said, output, True
