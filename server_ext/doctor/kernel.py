"""Which Python a kernel spec starts, and in which environment.

Guarantees: resolves as jupyter_client does (bare python/python3/python3.N is the server's own,
`${VAR}` in the spec's env is filled in); never starts anything; a missing or unreadable spec is a
fact, not an exception; tokens are not passed on.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, Protocol

from .facts import ProbeResult
from .settings import ALLOWED_VARIABLES

_PYTHON = re.compile(r"^python(\d(\.\d+)?)?$")
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|API_KEY|CREDENTIAL", re.IGNORECASE)


class SpecManager(Protocol):
    """The part of jupyter_client's KernelSpecManager that we use."""

    def get_kernel_spec(self, kernel_name: str) -> Any:
        """The spec, or NoSuchKernel."""

    def find_kernel_specs(self) -> Mapping[str, str]:
        """Names to folders."""


@dataclass(frozen=True)
class Kernel:
    """A kernel to examine. python: the interpreter command, or () where there is none; spec:
    facts about it.
    """

    name: str
    python: tuple[str, ...]
    env: Mapping[str, str]
    spec: Mapping[str, object]

    def facts(self) -> dict[str, ProbeResult]:
        """What is known without running anything."""
        variables = {name: self.env[name] for name in ALLOWED_VARIABLES if name in self.env}
        return {
            "kernelspec": ProbeResult("kernelspec", value=self.spec),
            "environment": ProbeResult("environment", value={"variables": variables}),
        }


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for a probe: no probe needs a token."""
    return {name: value for name, value in environ.items() if not _SECRET.search(name)}


def interpreter(argv: Sequence[str]) -> tuple[str, ...]:
    """The Python and its options of a kernel's command line, or () if it is not `python … -m
    module …`.

    A script given to Python (python launcher.py) counts, too.
    """
    if not argv or not _PYTHON.match(os.path.basename(argv[0])):
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
    spec["is_python"] = bool(python)
    if python:
        major, minor = sys.version_info[:2]
        bare = {"python", f"python{major}", f"python{major}.{minor}"}
        first = sys.executable if python[0] in bare else python[0]
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
    return resolve(name, argv, spec_env, environ)


async def find_async(name: str, manager: SpecManager, environ: Mapping[str, str]) -> Kernel:
    """`find`, off the event loop."""
    return await asyncio.to_thread(find, name, manager, environ)
