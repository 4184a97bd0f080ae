"""Does what a repair's plan says.

Guarantees:
- What was planned is looked at again first: a process that is another one now, a file that a
  program uses now, a line that was changed meanwhile is left alone and told.
- Killed or cancelled in between, nothing is half done but by pip, which is ended with all of its
  children; a file is changed as a whole or not at all, and its old text is kept beside it first.
  The examination that follows tells what is left.
- Its words are bounded in length and in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import stat
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from ... import json_file
from ...i18n import N_
from ..kernel import without_secrets
from ..origins import without
from ..probes import resources
from ..probing import end_group, let_go, start_group
from .failed import RepairFailed
from .plan_variables import PATHS
from .restart_kernel import restart
from .steps import (
    BACKUP,
    SHARED_MEMORY,
    DeleteShared,
    EndRanks,
    Line,
    Repair,
    RestartKernel,
    Run,
    SetAside,
    Silence,
    Step,
    Unset,
    UnsetInKernel,
)

LONGEST_SECONDS = 300.0
MOST_OUTPUT = 64 * 1024  # bytes

# pip reads configuration of the user's; none of it may change what was shown
_PIP = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
# what may be just what is broken
_TOUCHING = re.compile(r"(LD|PYTHON|PIP)_?[A-Z_]*")


async def carry_out(
    repair: Repair, environ: MutableMapping[str, str] | None = None, kernels: Any = None
) -> AsyncGenerator[str, None]:
    """Mend it; yields what is said meanwhile, in pieces. Raises RepairFailed.

    environ: what is passed on to kernels (default: this process's); changed by some steps; kernels:
    Jupyter Server's manager, None where there is none.
    """
    values = os.environ if environ is None else environ
    for step in repair.steps:
        if isinstance(step, Run):
            async for text in _run(step.argv, _calm(values)):
                yield text
        elif isinstance(step, RestartKernel):
            async for text in restart(kernels, step):
                yield text
        else:
            yield await asyncio.to_thread(_do, step, values)


def _calm(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a program of the image runs as it is meant to."""
    plain = without_secrets(environ)
    kept = {name: value for name, value in plain.items() if not _TOUCHING.fullmatch(name)}
    return {**kept, **_PIP}


def _do(step: Step, environ: MutableMapping[str, str]) -> str:
    match step:
        case EndRanks(ranks):
            return _end(ranks)
        case DeleteShared(names):
            return _delete(names)
        case SetAside(path):
            return _set_aside(path)
        case UnsetInKernel(variable, settings):
            return _unset_in(Path(settings), variable)
        case Silence(variable, file, lines):
            return _silence(variable, file, lines, environ)
        case Unset(variable, keep):
            return _unset(variable, keep, environ)
    raise TypeError(step)


async def _run(argv: tuple[str, ...], environment: Mapping[str, str]) -> AsyncGenerator[str, None]:
    try:
        process = await start_group(argv, environment, "/", stderr=asyncio.subprocess.STDOUT)
    except (OSError, ValueError) as error:
        raise RepairFailed(N_("It could not be started: {error}"), error=str(error)) from error
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    left = MOST_OUTPUT
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            while chunk := await process.stdout.read(4096):
                if left > 0:
                    yield chunk[:left].decode("utf-8", "replace")
                left -= len(chunk)
            status = await process.wait()
    except TimeoutError:
        raise RepairFailed(N_("It did not end in time and was stopped.")) from None
    finally:
        await end_group(process)
        let_go(process)
    if status != 0:
        raise RepairFailed(N_("It ended with status {status}."), status=str(status))


def _end(ranks: Mapping[int, str]) -> str:
    said = []
    for pid, command in ranks.items():
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                # the handle is of the process that is looked at now, whatever comes after it
                now = {item["pid"]: item["command"] for item in resources.orphan_ranks()}
                if now.get(pid) != command:
                    said.append(f"{pid} is another process now: left alone")
                    continue
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                said.append(f"{pid} ended")
            except PermissionError as error:
                raise RepairFailed(
                    N_("It could not be ended: {error}"), error=f"{pid}: {error}"
                ) from error
            finally:
                os.close(handle)
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}/environ").exists() and _alive(pid) for pid in ranks):
        if time.monotonic() > deadline:
            break  # the examination tells what is left
        time.sleep(0.05)
    return "\n".join(said) + "\n"


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in ("Z", "X")


def _delete(names: tuple[str, ...]) -> str:
    unused = {item["name"] for item in resources.shm_leftovers()}
    said = []
    for name in names:
        if name not in unused:
            said.append(f"{name} is in use, or gone: left alone")
            continue
        try:
            os.unlink(f"{SHARED_MEMORY}/{name}")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RepairFailed(N_("It could not be deleted: {error}"), error=str(error)) from error
    return "\n".join([*said, f"{len(names) - len(said)} deleted"]) + "\n"


def _set_aside(folder: str) -> str:
    aside = f"{folder}.set-aside-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        if os.lstat(folder).st_uid != os.getuid():
            raise RepairFailed(
                N_("{path} is not yours, so nothing was done. Tell your instructor."), path=folder
            )
        if os.path.lexists(aside):  # rename would replace it
            raise FileExistsError(aside)
        os.rename(folder, aside)
    except OSError as error:
        raise RepairFailed(N_("It could not be set aside: {error}"), error=str(error)) from error
    return f"{folder} is now {aside}\n"


def _unset(variable: str, keep: str, environ: MutableMapping[str, str]) -> str:
    if variable not in environ:
        return f"{variable} was not set any more\n"
    if keep:
        environ[variable] = keep
        return f"{variable} is {keep} in what is started from now on\n"
    del environ[variable]
    return f"{variable} is not set any more in what is started from now on\n"


def _unset_in(path: Path, variable: str) -> str:
    try:
        text = path.read_text()
        spec = json.loads(text)
        if variable not in spec.get("env", {}):
            return f"{variable} was not set any more in {path}\n"
        _write(Path(f"{path}{BACKUP}"), text, path)
        del spec["env"][variable]
        json_file.write(path, spec)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise RepairFailed(
            N_("The kernel's settings could not be changed: {error}"), error=str(error)
        ) from error
    return f"{variable} removed from {path}; before: {path.name}{BACKUP}\n"


def _silence(
    variable: str, file: str, lines: Sequence[Line], environ: MutableMapping[str, str]
) -> str:
    path = Path(os.path.realpath(file))  # the file itself, where it is a link
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        now = text.split("\n")
        for line in lines:
            if not (0 < line.number <= len(now) and now[line.number - 1] == line.text):
                raise RepairFailed(
                    N_("{file} was changed meanwhile, so nothing was done. Examine again."),
                    file=file,
                )
            now[line.number - 1] = ": # " + line.text
        _write(Path(f"{file}{BACKUP}"), text, path)
        _write(path, "\n".join(now), path)
    except OSError as error:
        raise RepairFailed(
            N_("{file} could not be changed: {error}"), file=file, error=str(error)
        ) from error
    if variable in environ:
        entries = [entry for line in lines for entry in line.entries]
        rest = without(environ[variable], entries) if variable in PATHS else ""
        if rest:
            environ[variable] = rest
        else:
            del environ[variable]
    numbers = ", ".join(str(line.number) for line in lines)
    return f"{file}: line {numbers} does nothing now; before: {os.path.basename(file)}{BACKUP}\n"


def _write(path: Path, text: str, like: Path) -> None:
    """A file as a whole, with the mode of another one."""
    mode = stat.S_IMODE(like.stat().st_mode)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))
            os.fchmod(descriptor, mode)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
