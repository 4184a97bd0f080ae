"""What volumes take, every few minutes; old generations are given up where a limit asks for it.

Guarantees:
- What hub_ext/space.py decides is done, and nothing else is deleted. A generation is out of the
  ledger, so that nobody goes back to it, before its volume is deleted; a volume that could not be
  deleted (the service was killed, a container has it) is deleted in a later round.
- While a reset or undo of a server is under way, nothing of its user is given up.
- A user is told once that space is short, and once that it is full, until it is neither.
- A measurement that fails or hangs leaves the last one in place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from ..errors import Conflict, NotFound
from ..ledger import Ledger
from ..models import NoticeKind, Snapshot
from ..policy import Rule
from ..space import (
    KeptEnvironment,
    Level,
    UserSpace,
    VolumeFact,
    by_user,
    level,
    limit_bytes,
    to_give_up,
)
from .hub_api import HubUser
from .notices import notify_once
from .old_generations import delete_expired

_log = logging.getLogger(__name__)

_KINDS = {Level.SHORT: NoticeKind.SPACE_SHORT, Level.FULL: NoticeKind.SPACE_FULL}


class Hub(Protocol):
    """What this module asks of JupyterHub (service/hub_api.py)."""

    async def user(self, user: str) -> HubUser: ...


class Volumes(Protocol):
    """What this module asks of the Docker Engine. Raises EngineUnavailable, EngineRefused."""

    async def volumes(self) -> Sequence[VolumeFact]: ...
    async def remove_environment(self, user: str, server: str, generation: int) -> None: ...


class SpaceWatch:
    """One round at a time."""

    def __init__(
        self,
        ledger: Ledger,
        hub: Hub,
        engine: Volumes,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.measured_at: datetime | None = None
        self._ledger = ledger
        self._hub = hub
        self._engine = engine
        self._now = now
        self._found: Mapping[str, UserSpace] = {}
        self._told: dict[tuple[str, str], Level] = {}  # (user, what) -> the last that was told

    def of(self, user: str) -> UserSpace | None:
        """What the user's volumes take; None before the first measurement."""
        return self._found.get(user, UserSpace()) if self.measured_at is not None else None

    async def round(self) -> None:
        """Measure once and act. Raises EngineUnavailable, EngineRefused, LedgerUnavailable."""
        volumes = await self._engine.volumes()
        self._found, self.measured_at = by_user(volumes), self._now()
        snapshot = await asyncio.to_thread(self._ledger.snapshot, self._now())
        rules = (snapshot.policy.default, *snapshot.policy.rules.values())
        if all(rule.environments_gib is None and rule.work_gib is None for rule in rules):
            return
        for user, space in self._found.items():
            try:
                groups = (await self._hub.user(user)).groups
            except NotFound:  # the account is gone; the volumes are the admin's to delete
                continue
            await self._keep_within(user, space, snapshot.policy.rule_for(groups), snapshot)

    async def _keep_within(
        self, user: str, space: UserSpace, rule: Rule, snapshot: Snapshot
    ) -> None:
        limit = limit_bytes(rule.environments_gib)
        servers = sorted({server for server, _generation in space.environments})
        # what could not be deleted in an earlier round still counts, but drives nothing else out;
        # asked last, so that one which expires just now does not, either
        kept = await self._kept(user, servers)
        going = await self._expired(user, servers)
        for each in to_give_up(space.without(*going), limit, kept):
            await self._give_up(user, each)
        expired = await self._expired(user, servers)
        for server in sorted({server for server, _generation in expired}):
            await delete_expired(self._ledger, self._engine, user, server)
        gone = set(expired) - set(await self._expired(user, servers))
        space = space.without(*gone)
        self._found = {**self._found, user: space}
        await self._tell(user, "environments", space.environments_bytes, limit, snapshot)
        await self._tell(user, "work", space.work, limit_bytes(rule.work_gib), snapshot)

    async def _expired(self, user: str, servers: Sequence[str]) -> list[tuple[str, int]]:
        """The (server, generation) that nobody can go back to, whose volumes are there still."""
        return [
            (server, generation)
            for server in servers
            for generation in await asyncio.to_thread(
                self._ledger.expired_generations, user, server
            )
        ]

    async def _kept(self, user: str, servers: Sequence[str]) -> list[KeptEnvironment]:
        """What may be given up: nothing while a reset or an undo of the user is under way."""
        unfinished = await asyncio.to_thread(self._ledger.unfinished_operations)
        if any(operation.user == user for operation in unfinished):
            return []
        kept: list[KeptEnvironment] = []
        for server in servers:
            found = await asyncio.to_thread(self._ledger.environment, user, server)
            kept.extend(
                KeptEnvironment(server, each.generation, each.left_at) for each in found.kept
            )
        return kept

    async def _give_up(self, user: str, kept: KeptEnvironment) -> None:
        server, generation = kept.server, kept.generation
        try:
            await asyncio.to_thread(self._ledger.give_up_generation, user, server, generation)
        except Conflict as error:  # somebody went back to it meanwhile, or is about to
            _log.info("generation %d of %s/%s stays: %s", generation, user, server, error)
        else:
            _log.warning("no space for generation %d of %s/%s: it goes", generation, user, server)

    async def _tell(
        self, user: str, what: str, used: int, limit: int | None, snapshot: Snapshot
    ) -> None:
        now_at = level(used, limit)
        if self._told.get((user, what), Level.FINE) is now_at:
            return
        if now_at is not Level.FINE:
            detail = {"what": what, "used": str(used), "limit": str(limit)}
            # a user without a server that runs finds it at the default one
            servers = {lease.server for lease in snapshot.leases if lease.user == user} or {""}
            for server in sorted(servers):
                await asyncio.to_thread(
                    notify_once,
                    self._ledger,
                    user,
                    server,
                    _KINDS[now_at],
                    what,
                    detail,
                    self._now(),
                )
        self._told[(user, what)] = now_at
