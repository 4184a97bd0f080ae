"""A process that runs -> the Kernel to examine: its own interpreter, variables and folder instead
of those that a new kernel would get.

Guarantees: never raises for what the process does, whoever's it is; reads /proc in a process of its
own, within SECONDS; of its environment the report gets what settings.py allows, as of any kernel.
Where the process cannot be looked at, the Kernel is what its spec would start, and the facts
"running" say why.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .facts import ProbeResult
from .kernel import Kernel, interpreter
from .probes import running as probe
from .probing import Probe, run_probe
from .secret_variables import SECRET, without_secrets
from .settings import ALLOWED_VARIABLES

NAME = "running"
ASKED = "asked"
STILL = "running_still"
SECONDS = 5.0

# a program reads these once, when it starts: changed later they do nothing
_AT_START = frozenset(
    {"LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONPATH"}
)
# what the server was given, whatever the kernel made of it
_OF_THE_SERVER = "GPUCAMP_"


@dataclass(frozen=True)
class Target:
    """A process to examine. pid: of what was started, None where there is none on this machine;
    word: of the kernel's command line, "" if that very process is meant; label: for people;
    kernel_id: of Jupyter Server's kernel, or "".
    """

    pid: int | None
    word: str = ""
    label: str = ""
    kernel_id: str = ""


async def find(
    target: Target, spec: Kernel, answer: ProbeResult, environ: Mapping[str, str]
) -> Kernel:
    """The Kernel of a process. spec: what a new kernel of its name would be; answer: the facts
    "asked"; environ: the server's.
    """
    if target.pid is None:
        facts = {"state": "elsewhere", "detail": "the server knows no process of it"}
        return not_running(spec, target, facts, answer)
    said = answer.value.get("pid")
    words = ("one", str(target.pid), target.word, str(said or ""), SECRET.pattern)
    result = await run_probe(
        Probe(NAME, "running", SECONDS, words), server_python(), without_secrets(environ), "/"
    )
    if result.failure is not None:
        facts = {"state": "unreadable", "detail": result.failure.detail}
        return not_running(spec, target, facts, answer)
    if result.value.get("state") != "alive":
        return not_running(spec, target, dict(result.value), answer)
    return running_kernel(spec, target, result, answer, environ)


async def find_process(pid: int, spec: Kernel, environ: Mapping[str, str]) -> Kernel:
    """The Kernel of any process, which is asked nothing. spec: what counts if that fails."""
    label = id_of_process(pid)
    return await find(
        Target(pid, label=label, kernel_id=label),
        spec,
        ProbeResult(ASKED, value={"asked": False, "why": ""}),
        environ,
    )


def id_of_process(pid: int) -> str:
    """What stands for a kernel's id where a process is examined."""
    return f"process {pid}"


def is_pid(text: str) -> bool:
    """Whether it is the number of a process, as the kernel of an operating system has them."""
    return text.isascii() and text.isdigit() and 0 < int(text) < 2**22 + 1


def server_python() -> list[str]:
    """The server's own, out of reach of the user's settings."""
    return [sys.executable, "-I", "-S"]


def not_running(
    spec: Kernel, target: Target, facts: Mapping[str, object], answer: ProbeResult
) -> Kernel:
    """What the spec would start, and why it is that."""
    told = {key: value for key, value in facts.items() if key in ("state", "detail", "pid")}
    value = {"asked": True, "id": target.kernel_id, "label": target.label, **told}
    return replace(spec, more=(ProbeResult(NAME, value=value), answer))


def running_kernel(
    spec: Kernel,
    target: Target,
    result: ProbeResult,
    answer: ProbeResult,
    environ: Mapping[str, str],
) -> Kernel:
    """The Kernel of a process that `result` tells about."""
    facts = dict(result.value)
    started_with = _texts(facts.pop("environ", {}))
    env = current_environment(started_with, answer.value.get("variables"), environ)
    words = facts.get("argv")
    argv = [str(word) for word in words] if isinstance(words, list) else []
    executable, cwd = str(facts.get("executable") or ""), str(facts.get("cwd") or "/")
    python = interpreter(argv)
    # another program has no settings of a kernel that it would have to follow
    name = spec.name if target.word else target.label
    own: dict[str, object] = {"name": name, "found": True, "argv": argv}
    own["is_python"] = bool(python)
    if python:
        first = locate(python[0], executable, cwd, env.get("PATH", os.defpath))
        exists = os.access(first, os.X_OK)
        problem = "" if exists else f"{first} does not exist"
        own |= {"executable": first, "python_exists": exists, "python_problem": problem}
        python = (first, *python[1:]) if exists else ()
    known = {name: started_with[name] for name in ALLOWED_VARIABLES if name in started_with}
    would_be = {name: spec.env[name] for name in ALLOWED_VARIABLES if name in spec.env}
    direct = bool(spec.python) and "launched" not in spec.spec and bool(target.word)
    value = {
        "asked": True,
        "id": target.kernel_id,
        "label": target.label,
        **facts,
        "variables": known,
        # where another program starts the Python, what that makes of its variables is not known
        "spec_variables": would_be if direct else None,
        "spec_python": spec.python[0] if direct else None,
    }
    told = ProbeResult(NAME, result.seconds, value)
    started = facts.get("started")
    return replace(
        spec,
        python=python,
        env=without_secrets(env),
        spec=own,
        more=(told, answer),
        folder=cwd,
        process=(_number(facts.get("pid")), _number(started)),
    )


def current_environment(
    started_with: Mapping[str, str], now: object, environ: Mapping[str, str]
) -> dict[str, str]:
    """The variables that count: those of the start, but for what the kernel has changed since and
    still has an effect.
    """
    env = dict(started_with)
    if isinstance(now, Mapping):
        for name in ALLOWED_VARIABLES:
            if name in _AT_START or name.startswith(_OF_THE_SERVER):
                continue
            if isinstance(now.get(name), str):
                env[name] = str(now[name])
            else:
                env.pop(name, None)
    server = {name: value for name, value in environ.items() if name.startswith(_OF_THE_SERVER)}
    return {**env, **server}


def locate(first: str, executable: str, cwd: str, path: str) -> str:
    """The interpreter as it was called, which decides about its environment (a link into one), if
    that leads to the file that runs; else that file.
    """
    if os.sep in first:
        called = os.path.normpath(os.path.join(cwd, first))
    else:
        called = shutil.which(first, path=path) or ""
    return called if called and os.path.realpath(called) == executable else executable


async def still_there(process: tuple[int, int] | None) -> ProbeResult:
    """Whether it is the same process that runs: {"asked", "alive"}."""
    if process is None:
        return ProbeResult(STILL, value={"asked": False})
    pid, started = process
    alive = await asyncio.to_thread(is_alive, pid, started)
    return ProbeResult(STILL, value={"asked": True, "alive": alive})


def is_alive(pid: int, started: int) -> bool:
    """Whether this process runs, and no other under its number. started: in ticks. Reads /proc:
    call it in a thread.
    """
    try:
        now = probe.stat(pid)
    except (OSError, ValueError, IndexError):
        return False
    return now["started"] == started and now["letter"] not in "ZX"


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name): str(text) for name, text in value.items()}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
