"""The ends of leases, every few seconds: what hub_ext/terms.py decides is done here.

Guarantees:
- A server is stopped through JupyterHub, so that everything about it ends in order; only a
  container that the hub has lost track of is removed directly. Its lease is ended by reconciling,
  on proof that the container is gone.
- Before a server is stopped, its lease and the operations are read again: a lease that changed
  since, and a server with a reset under way, are left alone.
- Its user is told why, once; what the hub or the Engine does not do now is asked again in the next
  round, so a reply that was lost, or a service that was killed between any two steps, does no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ..errors import Conflict, GpucampError, HubRefused, NotFound
from ..ledger import Ledger
from ..models import Device, Key, Lease, LeaseState, NoticeKind, Snapshot
from ..reconcile import ContainerFact
from ..terms import (
    AutoExtend,
    MarkIdle,
    ShortenForQuota,
    StopServer,
    TermAction,
    Watch,
    look,
    review,
)
from .extension import waiting
from .hub_api import HubServer
from .lease_views import use_of
from .notices import notify_once

AT_ONCE = 16  # calls to the hub; a stop may take it 10 s and more
LOST_AFTER = timedelta(seconds=15)  # the hub may be in the middle of a stop or a restart

_log = logging.getLogger(__name__)


class Hub(Protocol):
    """What this module asks of JupyterHub (service/hub_api.py)."""

    async def server(self, user: str, server: str) -> HubServer | None: ...
    async def stop(self, user: str, server: str) -> None: ...


class Containers(Protocol):
    """What this module asks of the Docker Engine. Raises EngineUnavailable, EngineRefused."""

    async def containers(self) -> Sequence[ContainerFact]: ...
    async def remove(self, container_id: str) -> None: ...


class TermsLoop:
    """One round at a time; `seen` gives the devices of the last scan, by UUID, if it is fresh."""

    def __init__(
        self,
        ledger: Ledger,
        hub: Hub,
        engine: Containers,
        seen: Callable[[], Mapping[str, Device]],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._hub = hub
        self._engine = engine
        self._seen = seen
        self._now = now
        self._watch: Watch | None = None
        self._lost_since: dict[str, datetime] = {}  # by lease: the hub says that it does not run
        self._few = asyncio.Semaphore(AT_ONCE)
        self._stopping: dict[str, asyncio.Task[None]] = {}  # by lease

    async def round(self) -> None:
        """Look once and act; stops go on by themselves. Raises LedgerUnavailable."""
        now = self._now()
        snapshot, actions = await asyncio.to_thread(self._decide, now)
        stops = [action for action in actions if isinstance(action, StopServer)]
        stopping = {stop.lease_id for stop in stops}
        self._lost_since = {
            lease_id: since for lease_id, since in self._lost_since.items() if lease_id in stopping
        }
        for action in actions:
            if not isinstance(action, StopServer):
                await asyncio.to_thread(self._write, action, now)
        leases = {lease.id: lease for lease in snapshot.leases}
        for stop in stops:
            if stop.lease_id not in self._stopping:
                task = asyncio.create_task(self._stop(stop, leases[stop.lease_id]))
                self._stopping[stop.lease_id] = task

    async def settled(self) -> None:
        """Wait until no stop is under way."""
        await asyncio.gather(*self._stopping.values(), return_exceptions=True)

    async def close(self) -> None:
        """Stop working; what is not done yet is for the next service."""
        for task in self._stopping.values():
            task.cancel()
        await self.settled()

    def _decide(self, now: datetime) -> tuple[Snapshot, tuple[TermAction, ...]]:
        snapshot = self._ledger.snapshot(now)
        self._watch = look(self._watch, now)
        actions = review(
            snapshot.leases,
            self._seen(),
            waiting(snapshot),
            snapshot.devices,
            snapshot.policy,
            now,
            self._resetting(),
            use_of(self._ledger, snapshot, {lease.user: lease.groups for lease in snapshot.leases}),
            watch=self._watch,
        )
        return snapshot, actions

    def _resetting(self) -> frozenset[Key]:
        unfinished = self._ledger.unfinished_operations()
        return frozenset((operation.user, operation.server) for operation in unfinished)

    def _write(self, action: AutoExtend | ShortenForQuota | MarkIdle, now: datetime) -> None:
        with suppress(Conflict, NotFound):  # it ended, or is drained, since
            match action:
                case AutoExtend(lease_id, until):
                    self._ledger.extend(lease_id, until, now, by_user=False)
                case ShortenForQuota(lease_id, until):
                    self._ledger.shorten(lease_id, until, now, "device-hours are used up")
                case MarkIdle(lease_id, since, reclaim_at):
                    self._ledger.mark_idle(lease_id, since, reclaim_at, now)

    # -- stopping

    async def _stop(self, stop: StopServer, lease: Lease) -> None:
        try:
            async with self._few:
                await self._stop_one(stop, lease)
        except GpucampError as error:
            _log.warning("%s/%s is stopped later: %s", stop.user, stop.server, error)
        except Exception:  # a bug must not keep the lease for ever: the next round tries again
            _log.exception("%s/%s was not stopped", stop.user, stop.server)
        finally:
            self._stopping.pop(stop.lease_id, None)

    async def _stop_one(self, stop: StopServer, lease: Lease) -> None:
        if not await asyncio.to_thread(self._still_stands, lease):
            return
        try:
            found = await self._hub.server(stop.user, stop.server)
        except NotFound:  # the user is gone from the hub
            found = None
        if found is None or found.stopped:
            await self._remove_lost(stop, lease)
            return
        self._lost_since.pop(lease.id, None)
        if found.pending == "stop":
            return
        await self._tell(stop, lease)
        _log.info("stopping %s/%s: %s", stop.user, stop.server, stop.kind.value)
        try:
            await self._hub.stop(stop.user, stop.server)
        except HubRefused as error:
            _log.warning("the hub does not stop %s/%s: %s", stop.user, stop.server, error)

    def _still_stands(self, lease: Lease) -> bool:
        """Whether what was decided holds still: the same lease, running as it was, no reset."""
        if (lease.user, lease.server) in self._resetting():
            return False
        found = self._ledger.lease_of(lease.user, lease.server)
        return (
            found is not None
            and (found.id, found.container_id) == (lease.id, lease.container_id)
            and found.state is LeaseState.RUNNING
            and (found.expires_at, found.reclaim_at) == (lease.expires_at, lease.reclaim_at)
            and found.revocation == lease.revocation
        )

    async def _remove_lost(self, stop: StopServer, lease: Lease) -> None:
        """The hub does not run this server. Its container, if it lives on, is removed here."""
        since = self._lost_since.setdefault(lease.id, self._now())
        if self._now() - since < LOST_AFTER:
            return
        for container in await self._engine.containers():
            if container.lease_id == lease.id:
                await self._tell(stop, lease)
                _log.warning(
                    "removing container %s of %s/%s, which the hub does not know of",
                    *(container.id, stop.user, stop.server),
                )
                await self._engine.remove(container.id)

    async def _tell(self, stop: StopServer, lease: Lease) -> None:
        said = lease.revocation
        detail: dict[str, str] = {}
        if stop.kind is NoticeKind.STOPPED_AS_REVOKED and said is not None:
            detail = {"by": said.by, "reason": said.reason}
        await asyncio.to_thread(
            notify_once,
            self._ledger,
            stop.user,
            stop.server,
            stop.kind,
            stop.lease_id,
            detail,
            self._now(),
        )
