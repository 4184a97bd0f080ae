"""Does what a repair's plan says.

Guarantees:
- What was planned is looked at again first: a process that is another one now, or a file that a
  program uses now, is left alone and told.
- Killed or cancelled in between, nothing is half done but by pip, which is ended with all of its
  children; the examination that follows tells what is left.
- Its words are bounded in length and in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from ... import json_file
from ...errors import ServiceUnavailable
from ...i18n import N_
from ..kernel import Kernel
from ..probes import resources
from ..probing import end_group, let_go, start_group
from .plan import SHARED_MEMORY, DeleteShared, EndRanks, Repair, Run, SetAside, Unset

LONGEST_SECONDS = 300.0
MOST_OUTPUT = 64 * 1024  # bytes

# pip reads configuration of the user's; none of it may change what was shown
_PIP = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


class RepairFailed(ServiceUnavailable):
    """It was not mended; the text says why."""


async def carry_out(repair: Repair, kernel: Kernel, folder: str) -> AsyncGenerator[str, None]:
    """Mend it; yields what is said meanwhile, in pieces. Raises RepairFailed.

    folder: of the kernel's settings, or "".
    """
    match repair.step:
        case Run(argv):
            async for text in _run(argv, kernel.env):
                yield text
        case EndRanks(ranks):
            yield await asyncio.to_thread(_end, ranks)
        case DeleteShared(names):
            yield await asyncio.to_thread(_delete, names)
        case SetAside(path):
            yield await asyncio.to_thread(_set_aside, path)
        case Unset(variable):
            yield await asyncio.to_thread(_unset, variable, folder)


async def _run(argv: tuple[str, ...], environment: Mapping[str, str]) -> AsyncGenerator[str, None]:
    try:
        process = await start_group(
            argv, {**environment, **_PIP}, "/", stderr=asyncio.subprocess.STDOUT
        )
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
        if os.path.lexists(aside):  # rename would replace it
            raise FileExistsError(aside)
        os.rename(folder, aside)
    except OSError as error:
        raise RepairFailed(N_("It could not be set aside: {error}"), error=str(error)) from error
    return f"{folder} is now {aside}\n"


def _unset(variable: str, folder: str) -> str:
    said = _unset_in(Path(folder) / "kernel.json", variable) if folder else []
    # the server's own value is another one; simulated devices need theirs
    if not said and os.environ.pop(variable, None) is not None:
        said.append(f"{variable} is not set any more in what this server starts")
    return "\n".join(said or [f"{variable} was not set any more"]) + "\n"


def _unset_in(path: Path, variable: str) -> list[str]:
    try:
        spec = json.loads(path.read_text())
        if variable not in spec.get("env", {}):
            return []
        path.with_name("kernel.json.before").write_text(path.read_text())
        del spec["env"][variable]
        json_file.write(path, spec)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RepairFailed(
            N_("The kernel's settings could not be changed: {error}"), error=str(error)
        ) from error
    return [f"removed from {path}; before: {path.name}.before"]
