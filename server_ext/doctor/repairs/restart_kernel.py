"""Gives a kernel a new process, through Jupyter Server's own manager of kernels.

Guarantees: `restart` restarts a kernel only if it is the process that was examined, and if no cell
runs in it that did not run then; a restart that was begun goes on whoever stops waiting for it, so
that no kernel is left ended; the wait is bounded. The new process has the settings and variables
that a new kernel would get: by itself, Jupyter restarts a kernel with those of its first start.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from ...i18n import N_
from ..running import is_alive
from .failed import RepairFailed
from .steps import RestartKernel

SECONDS = 90.0  # a kernel may come from a cold disk
_SETTLES = 10.0  # seconds after its first answer in which it says that it is idle

# variables that Jupyter Server sets for one kernel
_OF_THE_SESSION = ("JPY_SESSION_NAME",)
# restarts that nobody waits for any more are kept from being collected
_begun: set[asyncio.Task[None]] = set()


async def restart(kernels: Any, step: RestartKernel) -> AsyncGenerator[str, None]:
    """Restarts it; yields what is said meanwhile. kernels: Jupyter Server's manager. Raises
    RepairFailed.
    """
    await _must_fit(kernels, step)
    yield f"restarting kernel {step.kernel_id}\n"
    await restart_whatever_it_does(kernels, step.kernel_id)
    yield "it answers\n"


async def restart_whatever_it_does(kernels: Any, kernel_id: str) -> None:
    """Returns when the new process is there. Raises RepairFailed."""
    task = asyncio.create_task(_restart(kernels, kernel_id))
    _begun.add(task)
    task.add_done_callback(_ended)
    done, _ = await asyncio.wait([task], timeout=SECONDS)
    if not done:
        raise RepairFailed(
            N_(
                "The kernel did not come back within {seconds} s. If it still does not, shut it "
                "down and run its notebook again."
            ),
            seconds=f"{SECONDS:g}",
        )
    error = task.exception()
    if error is not None:
        raise RepairFailed(
            N_(
                "The kernel did not come back ({error}). Shut it down and run its notebook again; "
                "if it does not start, examine the kernel of its name."
            ),
            error=f"{type(error).__name__}: {error}"[:300],
        )


async def _must_fit(kernels: Any, step: RestartKernel) -> None:
    """Raises RepairFailed where what was consented to is not what would be done."""
    state = _state(kernels, step.kernel_id)
    if state is None:
        raise RepairFailed(
            N_(
                "The kernel has ended meanwhile, so nothing was done. Run its notebook again: it "
                "gets a new one."
            )
        )
    if state in ("starting", "restarting"):
        raise RepairFailed(
            N_("The kernel is being started right now, so nothing was done. Examine it again.")
        )
    if step.process is not None and not await asyncio.to_thread(is_alive, *step.process):
        raise RepairFailed(
            N_(
                "The kernel has ended or was restarted meanwhile, so nothing was done. Examine it "
                "again."
            )
        )
    if state == "busy" and not step.busy:
        raise RepairFailed(
            N_(
                "A cell runs in the kernel now, so nothing was done. Wait for it or interrupt it, "
                "then examine again."
            )
        )


async def _restart(kernels: Any, kernel_id: str) -> None:
    await _renew_settings(kernels.get_kernel(kernel_id))
    answer = await kernels.restart_kernel(kernel_id)
    if inspect.isawaitable(answer):  # the new process's first answer
        await answer
    for _ in range(round(_SETTLES / 0.05)):
        if _state(kernels, kernel_id) == "idle":
            return
        await asyncio.sleep(0.05)  # else the examination would find it starting


async def _renew_settings(manager: Any) -> None:
    """Lets Jupyter's manager of one kernel forget what it keeps of the first start. Settings that
    cannot be read now stay as they were.
    """
    try:
        find = manager.kernel_spec_manager.get_kernel_spec
        spec = await asyncio.to_thread(find, manager.kernel_name)
        manager._kernel_spec = manager.provisioner.kernel_spec = spec
    except Exception:  # it has none of these, or the file is broken: a restart is better than none
        return
    kept: Any = getattr(manager, "_launch_args", None)
    known = kept.get("env") if isinstance(kept, dict) else None
    if isinstance(known, Mapping):
        own = {name: value for name, value in known.items() if name in _OF_THE_SESSION}
        kept["env"] = {**os.environ, **own}


def _state(kernels: Any, kernel_id: str) -> str | None:
    """Its state by Jupyter Server's word; None: there is no such kernel."""
    try:
        model = kernels.kernel_model(kernel_id)
    except Exception:  # whatever the manager says of an unknown id (HTTPError, KeyError)
        return None
    return str(model.get("execution_state")) if isinstance(model, Mapping) else None


def _ended(task: asyncio.Task[None]) -> None:
    _begun.discard(task)
    if not task.cancelled():
        task.exception()  # was told, or nobody waits for it
