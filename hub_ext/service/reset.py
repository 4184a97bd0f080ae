"""Reset and undo: stop the server, switch the environment's generation, start it again.

Guarantees:
- The work volume is never touched; the environment left stays for an undo.
- The generation changes only after the hub says that the server is stopped and the Engine says
  that no container of it exists. An Engine that does not answer is waited for, not believed.
- The lease is held from before the stop until the new container takes it up, so nobody else gets
  the devices. When an operation fails the hold is given up: a container that still runs gets its
  lease back, a lease without a container is ended.
- The ledger knows the step before it is taken and every step can be taken twice, so a service
  that was killed anywhere finishes the operation when it returns. A ledger that does not answer
  is waited for.
- One operation per server at a time. An operation ends DONE or FAILED, and a failure says why in a
  code (`Failure`) and, after ": ", the reason in the words of whoever gave it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

from ..errors import (
    Conflict,
    EngineRefused,
    EngineUnavailable,
    GpucampError,
    HubRefused,
    HubUnavailable,
    LedgerUnavailable,
    NotFound,
)
from ..ledger import Ledger
from ..models import FINAL_STEPS, LeaseState, Operation, OperationKind, OperationStep
from ..reconcile import ContainerFact
from . import counters
from .hub_api import HubServer
from .keyed_tasks import KeyedTasks
from .pacing import Deadline, Pace

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Failure(StrEnum):
    """Why an operation failed; pages and the API translate it (service/wording.py)."""

    STARTED_MEANWHILE = "started-meanwhile"
    STOP_TIMEOUT = "stop-timeout"
    STOP_ENGINE_SILENT = "stop-engine-silent"
    STOP_HUB_SILENT = "stop-hub-silent"
    SWITCH_REFUSED = "switch-refused"
    START_FAILED = "start-failed"
    START_TIMEOUT = "start-timeout"
    START_HUB_SILENT = "start-hub-silent"
    USER_GONE = "user-gone"
    UNEXPECTED = "unexpected"


class Hub(Protocol):
    """What this module asks of JupyterHub (service/hub_api.py)."""

    async def server(self, user: str, server: str) -> HubServer | None: ...
    async def stop(self, user: str, server: str) -> None: ...
    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None: ...


class Containers(Protocol):
    """What this module asks of the Docker Engine. Raises EngineUnavailable, EngineRefused."""

    async def containers(self) -> Sequence[ContainerFact]: ...
    async def remove(self, container_id: str) -> None: ...
    async def remove_environment(self, user: str, server: str, generation: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds."""

    poll: float = 0.5  # at most, between looks: they are closer soon after a request
    stop: float = 120.0
    start: float = 600.0
    leftover: float = 15.0  # a container that outlives its stop by this much is removed
    retry: float = 2.0  # between tries when hub, Engine or ledger do not answer
    stop_again: float = 10.0  # a stop that shows no effect is asked for again
    starts: int = 2  # how often a start that failed is tried
    # until old environments are deleted: a server that starts meanwhile would take twice as long
    tidy: float = 20.0


class _Failed(Exception):
    def __init__(self, failure: Failure, detail: str = "") -> None:
        super().__init__(f"{failure.value}: {detail}" if detail else failure.value)
        self.failure = failure


class ResetWorkflow:
    """Begins operations and drives them to their end. Lives in one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        hub: Hub,
        engine: Containers,
        *,
        limits: Limits | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._hub = hub
        self._engine = engine
        self._limits = limits or Limits()
        self._now = now
        self._tasks = KeyedTasks("reset", _log)

    async def begin(
        self,
        kind: OperationKind,
        user: str,
        server: str,
        *,
        requested_by: str,
        generation: int | None = None,
        reason: str = "",
        group_reset: str = "",
    ) -> Operation:
        """Write the operation down and set out on it.

        `generation`: where an undo goes back to; None: to the one left last. Raises Conflict if one
        is under way or that generation is not kept, NotFound for an unknown user or a named server
        that was never made, HubUnavailable and LedgerUnavailable; then nothing has happened.
        """
        found = await self._hub.server(user, server)
        if found is None and server:
            raise NotFound(f"{user} has no server {server!r}.")
        operation = await asyncio.to_thread(
            self._ledger.begin_operation,
            kind,
            user,
            server,
            requested_by=requested_by,
            start_after=found is not None and not found.stopped,
            user_options=dict(found.user_options) if found is not None else {},
            now=self._now(),
            generation=generation,
            reason=reason,
            group_reset=group_reset,
        )
        _log.info("%s %s of %s/%s by %s", kind, operation.id, user, server, requested_by)
        self._tasks.see_to(operation.id, self._drive)
        return operation

    async def resume(self) -> None:
        """Go on with what an earlier service left unfinished."""
        for operation in await self._persist(self._ledger.unfinished_operations):
            _log.info("resuming %s %s at %s", operation.kind, operation.id, operation.step)
            self._tasks.see_to(operation.id, self._drive)

    def go_on(self, operation: Operation) -> None:
        """See to it that this unfinished operation is worked on."""
        self._tasks.see_to(operation.id, self._drive)

    async def close(self) -> None:
        """Stop working; what is unfinished stays in the ledger for `resume`."""
        await self._tasks.cancel()

    async def settled(self) -> None:
        """Wait until no operation is under way in this process."""
        await self._tasks.settled()

    async def _drive(self, operation_id: str) -> None:
        operation = await self._persist(lambda: self._ledger.operation(operation_id))
        began = operation.step
        steps: dict[OperationStep, Callable[[Operation], Awaitable[None]]] = {
            OperationStep.REQUESTED: self._hold,
            OperationStep.STOPPING: self._stop,
            OperationStep.SWITCHING: self._switch,
            OperationStep.STARTING: self._start,
        }
        try:
            while operation.step not in FINAL_STEPS:
                await steps[operation.step](operation)
                operation = await self._persist(lambda: self._ledger.operation(operation_id))
        except _Failed as failed:
            await self._fail(operation, failed)
        except Exception as error:  # a bug must not leave an operation under way for ever
            _log.exception("%s %s broke", operation.kind, operation_id)
            await self._fail(operation, _Failed(Failure.UNEXPECTED, str(error)))
        else:
            _log.info("%s %s is done", operation.kind, operation_id)
            if began not in FINAL_STEPS:
                counters.reset_ended(operation, self._now())
            await asyncio.sleep(self._limits.tidy)
            await self._delete_expired_volumes(operation)

    # -- the steps; each may be taken again after a kill

    async def _hold(self, operation: Operation) -> None:
        await self._hold_lease(operation)
        await self._advance(operation, OperationStep.STOPPING)

    async def _stop(self, operation: Operation) -> None:
        await self._stop_until_gone(operation)
        await self._advance(operation, OperationStep.SWITCHING)

    async def _switch(self, operation: Operation) -> None:
        try:
            await self._persist(lambda: self._ledger.switch_environment(operation.id, self._now()))
        except Conflict as error:
            raise _Failed(Failure.SWITCH_REFUSED, str(error)) from error

    async def _start(self, operation: Operation) -> None:
        if operation.start_after:
            await self._start_until_ready(operation)
        await self._advance(operation, OperationStep.DONE)

    # -- stop

    async def _stop_until_gone(self, operation: Operation) -> None:
        """Returns when hub and Engine agree that the server is gone. Raises _Failed."""
        deadline = Deadline(self._limits.stop)
        leftover = Deadline(self._limits.leftover)
        ask_again = Deadline(0)
        pace = Pace(self._limits.poll)
        while True:
            silent: Failure | None = None
            try:
                found = await self._hub.server(operation.user, operation.server)
                if found is not None and not found.stopped:
                    leftover = Deadline(self._limits.leftover)
                    if not operation.start_after:
                        raise _Failed(Failure.STARTED_MEANWHILE)
                    if found.pending != "stop" and ask_again.passed:
                        await self._hold_lease(operation)
                        await self._hub.stop(operation.user, operation.server)
                        ask_again = Deadline(self._limits.stop_again)
                        pace = Pace(self._limits.poll)
                        continue  # the hub answers when it has stopped, or after ten seconds
                else:
                    containers = await self._containers_of(operation)
                    if not containers:
                        await self._mark_gone(operation)
                        return
                    if leftover.passed:
                        # the hub has lost track of it: nobody else would remove it
                        for container in containers:
                            await self._engine.remove(container.id)
            except HubUnavailable:
                silent = Failure.STOP_HUB_SILENT
            except (EngineUnavailable, EngineRefused):
                silent = Failure.STOP_ENGINE_SILENT
            except NotFound as error:
                raise _Failed(Failure.USER_GONE, str(error)) from error
            except HubRefused as error:
                _log.info("the hub did not stop %s/%s: %s", operation.user, operation.server, error)
            if deadline.passed:
                raise _Failed(silent or Failure.STOP_TIMEOUT)
            await asyncio.sleep(self._limits.retry if silent else pace.next())

    async def _containers_of(self, operation: Operation) -> list[ContainerFact]:
        return [
            container
            for container in await self._engine.containers()
            if (container.user, container.server) == (operation.user, operation.server)
        ]

    # -- start

    async def _start_until_ready(self, operation: Operation) -> None:
        """Returns when the server is ready in the new environment, or waits in line for devices.

        Who had none before the reset may wait for hours, and then starts in it. Raises _Failed.
        """
        deadline = Deadline(self._limits.start)
        tries = 0
        reason = ""
        pace = Pace(self._limits.poll)
        while True:
            silent = False
            try:
                found = await self._hub.server(operation.user, operation.server)
                if found is not None and found.ready:
                    if await self._is_current(operation):
                        return
                    # someone started it between the stop and the switch, in the old environment
                    await self._stop_until_gone(operation)
                elif found is None or found.stopped:
                    if tries >= self._limits.starts:
                        raise _Failed(Failure.START_FAILED, reason)
                    await self._hub.start(operation.user, operation.server, operation.user_options)
                    tries += 1
                    pace = Pace(self._limits.poll)
                    continue  # the hub answers when it is ready, or after ten seconds
                elif found.pending == "spawn" and await self._waits_in_line(operation):
                    return
            except HubUnavailable:
                silent = True
            except HubRefused as error:
                reason = str(error)
                tries += 1
                await asyncio.sleep(self._limits.poll)  # it may have been too early
            except NotFound as error:
                raise _Failed(Failure.USER_GONE, str(error)) from error
            if deadline.passed:
                raise _Failed(Failure.START_HUB_SILENT if silent else Failure.START_TIMEOUT)
            await asyncio.sleep(self._limits.retry if silent else pace.next())

    async def _waits_in_line(self, operation: Operation) -> bool:
        """Whether its start waits for devices; one with a lease is about to leave the line."""
        key = (operation.user, operation.server)
        lease = await self._persist(lambda: self._ledger.lease_of(*key))
        queue = await self._persist(self._ledger.queue)
        return lease is None and any(
            (each.request.user, each.request.server) == key for each in queue
        )

    async def _is_current(self, operation: Operation) -> bool:
        """Whether the running container has the environment of now; True if nobody can say."""
        wanted = await self._persist(
            lambda: self._ledger.environment(operation.user, operation.server)
        )
        try:
            containers = await self._containers_of(operation)
        except (EngineUnavailable, EngineRefused):
            return True
        return all(c.generation in (0, wanted.generation) for c in containers if c.running)

    # -- lease

    async def _hold_lease(self, operation: Operation) -> None:
        if not operation.start_after:
            return
        until = self._now() + timedelta(seconds=self._limits.stop + self._limits.start)
        lease = await self._persist(lambda: self._ledger.lease_of(operation.user, operation.server))
        if lease is not None:
            with suppress(Conflict):  # it ended since: there is nothing to hold
                await self._persist(lambda: self._ledger.hold(lease.id, until, self._now()))

    async def _mark_gone(self, operation: Operation) -> None:
        lease = await self._persist(lambda: self._ledger.lease_of(operation.user, operation.server))
        if lease is not None:
            await self._persist(lambda: self._ledger.mark_gone(lease.id, self._now()))

    async def _give_up_hold(self, operation: Operation) -> None:
        """A container that runs gets its lease back; without one the lease ends.

        If the Engine does not answer the hold stays: it runs out, or reconciling decides.
        """
        lease = await self._persist(lambda: self._ledger.lease_of(operation.user, operation.server))
        if lease is None or lease.state is not LeaseState.HELD:
            return
        try:
            containers = await self._containers_of(operation)
        except (EngineUnavailable, EngineRefused):
            return
        running = [container for container in containers if container.running]
        with suppress(Conflict):
            if running:
                await self._persist(
                    lambda: self._ledger.mark_running(lease.id, running[0].id, self._now())
                )
            elif not containers:
                reason = f"the {operation.kind.value} failed"
                await self._persist(
                    lambda: self._ledger.end(
                        lease.id, reason, self._now(), if_container=lease.container_id
                    )
                )

    # -- bookkeeping

    async def _advance(self, operation: Operation, step: OperationStep) -> None:
        await self._persist(lambda: self._ledger.advance_operation(operation.id, step, self._now()))

    async def _fail(self, operation: Operation, failed: _Failed) -> None:
        _log.warning("%s %s failed: %s", operation.kind, operation.id, failed)
        # a start that is only slow will take the held lease up
        if failed.failure is not Failure.START_TIMEOUT:
            try:
                await self._give_up_hold(operation)
            except Exception:  # whatever it is, the operation must end as failed
                _log.exception("the hold of %s/%s stays", operation.user, operation.server)
        await self._persist(
            lambda: self._ledger.advance_operation(
                operation.id, OperationStep.FAILED, self._now(), str(failed)
            )
        )
        counters.reset_ended(operation, self._now(), failed.failure.value)

    async def _persist(self, call: Callable[[], T]) -> T:
        """Call the ledger off the event loop, again and again until it answers."""
        while True:
            try:
                return await asyncio.to_thread(call)
            except LedgerUnavailable as error:
                _log.error("waiting for the ledger: %s", error)
                await asyncio.sleep(self._limits.retry)

    async def _delete_expired_volumes(self, operation: Operation) -> None:
        """Best effort: what cannot be deleted now is tried again after the next reset."""
        user, server = operation.user, operation.server
        try:
            for generation in await asyncio.to_thread(
                self._ledger.expired_generations, user, server
            ):
                await self._engine.remove_environment(user, server, generation)
                await asyncio.to_thread(self._ledger.forget_generation, user, server, generation)
        except GpucampError as error:
            _log.warning("old environments of %s/%s stay: %s", user, server, error)
