"""Which Python a kernel spec starts, and in which environment.

Guarantees: resolves as jupyter_client does (bare python/python3/python3.N is the server's own,
`${VAR}` in the spec's env is filled in), and through what starts a Python (launchers.py); never
starts anything; a missing or unreadable spec is a fact, not an exception; tokens are not passed on.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import Template
from typing import Any, Protocol

from . import launchers, origins
from .facts import ProbeResult
from .secret_variables import without_secrets
from .settings import ALLOWED_VARIABLES
from .threads import in_thread

_PYTHON = re.compile(r"^python(\d(\.\d+)?)?$")

# the facts about a kernel that runs: what its process is, and what it says of itself
OF_RUNNING = ("running", "asked")

# log-ins to services, of which a check knows only whether they are set
LOG_INS = ("HF_TOKEN", "WANDB_API_KEY")


class SpecManager(Protocol):
    """The part of jupyter_client's KernelSpecManager that we use."""

    def get_kernel_spec(self, kernel_name: str) -> Any:
        """The spec, or NoSuchKernel."""

    def find_kernel_specs(self) -> Mapping[str, str]:
        """Names to folders."""


@dataclass(frozen=True)
class Kernel:
    """A kernel to examine. python: the interpreter command, or () where there is none; spec:
    facts about it; origins: where variables are set (origins.py).

    Of one that runs, too: more: what was found out about it; folder: where it works; process: its
    pid and when that started (ticks).
    """

    name: str
    python: tuple[str, ...]
    env: Mapping[str, str]
    spec: Mapping[str, object]
    more: tuple[ProbeResult, ...] = ()
    folder: str = ""
    process: tuple[int, int] | None = None
    origins: Mapping[str, object] = field(default_factory=dict)

    def facts(self) -> dict[str, ProbeResult]:
        """What is known without running anything."""
        variables = {name: self.env[name] for name in ALLOWED_VARIABLES if name in self.env}
        return {
            "kernelspec": ProbeResult("kernelspec", value=self.spec),
            "environment": ProbeResult("environment", value={"variables": variables}),
            "origins": ProbeResult("origins", value=self.origins),
            **{name: ProbeResult(name, value={"asked": False}) for name in OF_RUNNING},
            **{result.name: result for result in self.more},
        }


def is_python(command: str) -> bool:
    """Whether a program is a Python, by its name."""
    return bool(_PYTHON.match(os.path.basename(command)))


def interpreter(argv: Sequence[str]) -> tuple[str, ...]:
    """The Python and its options of a kernel's command line, or () if it is not `python … -m
    module …`.

    A script given to Python (python launcher.py) counts, too.
    """
    if not argv or not is_python(argv[0]):
        return ()
    options: list[str] = []
    rest = list(argv[1:])
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c"):
        option = rest.pop(0)
        options.append(option)
        if option in ("-X", "-W") and rest:
            options.append(rest.pop(0))
    return (argv[0], *options)


def resolve(
    name: str, argv: Sequence[str], spec_env: Mapping[str, str], environ: Mapping[str, str]
) -> Kernel:
    """The Kernel of a spec that was found."""
    env = dict(environ)
    env.update({key: Template(str(v)).safe_substitute(environ) for key, v in spec_env.items()})
    if "PYTHONEXECUTABLE" not in spec_env:
        env.pop("PYTHONEXECUTABLE", None)
    python = interpreter(argv)
    spec: dict[str, object] = {"name": name, "found": True, "argv": list(argv)}
    launched = launchers.unwrap(argv, env) if not python else None
    if launched is not None:  # env, conda run, a script ...: what that starts
        python, env = interpreter(launched.argv), dict(launched.env)
        spec["launched"] = list(launched.argv)
    spec["is_python"] = bool(python)
    # that they are set, not what to
    spec["secrets"] = [name for name in LOG_INS if env.get(name)]
    if python:
        major, minor = sys.version_info[:2]
        bare = {"python", f"python{major}", f"python{major}.{minor}"}
        own = python[0] in bare and launched is None
        first = sys.executable if own else python[0]
        problem, found = _locate(first, env.get("PATH", os.defpath))
        spec |= {"executable": found, "python_exists": not problem, "python_problem": problem}
        python = (found, *python[1:]) if not problem else ()
    return Kernel(name, python, without_secrets(env), spec)


def _locate(command: str, path: str) -> tuple[str, str]:
    """What is wrong with an executable ("" if nothing), and where it is."""
    found = command if os.sep in command else shutil.which(command, path=path) or command
    if os.path.islink(found) and not os.path.exists(found):
        return f"{found} is a link to {os.readlink(found)}, which does not exist", found
    if not os.path.exists(found):
        return f"{found} does not exist", found
    if os.path.isdir(found) or not os.access(found, os.X_OK):
        return f"{found} cannot be executed", found
    return "", found


def problems(
    argv: Sequence[str], spec_env: Mapping[str, object], env: Mapping[str, str]
) -> list[str]:
    """What keeps Jupyter from starting a kernel by this command and these variables; for people,
    English. Whether a Python exists is told apart from it.
    """
    found = [f"env: {key} is no text" for key, v in spec_env.items() if not isinstance(v, str)]
    if not argv or not argv[0]:
        return ["argv is empty", *found]
    if os.sep in argv[0] and not os.path.isabs(argv[0]):
        found.append(f"{argv[0]}: the path depends on the notebook's folder")
    elif not is_python(argv[0]) and (problem := _locate(argv[0], env.get("PATH", os.defpath))[0]):
        found.append(problem)
    if not any("{connection_file}" in word for word in argv):
        found.append("argv has no {connection_file}: the kernel cannot be reached")
    return found


def find(name: str, manager: SpecManager, environ: Mapping[str, str]) -> Kernel:
    """The kernel of this name. Reads files, so call it in a thread: `find_async`."""
    try:
        spec = manager.get_kernel_spec(name)
        argv = [str(word) for word in spec.argv]
        spec_env = {str(key): str(value) for key, value in (spec.env or {}).items()}
    except Exception as error:  # NoSuchKernel, broken JSON, an unreadable folder, a bad type
        try:
            available = sorted(manager.find_kernel_specs())
        except Exception:
            available = []
        text = "" if type(error).__name__ == "NoSuchKernel" else f"{type(error).__name__}: {error}"
        facts = {"name": name, "found": False, "error": text[:500], "available": available}
        return Kernel(name, (), without_secrets(environ), facts)
    kernel = resolve(name, argv, spec_env, environ)
    facts = {
        "problems": problems(argv, spec.env or {}, kernel.env),
        "folder": str(getattr(spec, "resource_dir", "") or ""),
    }
    kernel = replace(kernel, spec={**kernel.spec, **facts})
    settings = origins.kernel_settings(str(getattr(spec, "resource_dir", "") or ""))
    home = environ.get("HOME", "")
    found = origins.find(ALLOWED_VARIABLES, kernel.env, home, spec_env, settings)
    return replace(kernel, origins=found)


async def find_async(name: str, manager: SpecManager, environ: Mapping[str, str]) -> Kernel:
    """`find`, off the event loop."""
    return await in_thread(find, name, manager, environ)
