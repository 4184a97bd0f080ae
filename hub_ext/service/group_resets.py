"""Resets of whole groups: begins the members' resets one after the other, a few at a time.

Guarantees:
- At most `at_once` members' resets are under way, of all groups together.
- Who is begun, and what came of it, is in the ledger, so a service that was killed anywhere goes on
  when it returns, and nobody is reset twice.
- A member whose own reset or undo is under way waits until that is done. One who cannot be reset
  (JupyterHub does not know them any more, or refuses) has the reason as their result, and the
  others go on.
- A hub or a ledger that does not answer is waited for. After `cancel` nobody else is begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TypeVar

from ..errors import Conflict, HubRefused, HubUnavailable, LedgerUnavailable, NotFound
from ..i18n import N_
from ..ledger import Ledger
from ..models import FINAL_STEPS, GroupReset, GroupResetState, OperationKind
from .keyed_tasks import KeyedTasks
from .reset import ResetWorkflow

T = TypeVar("T")

USER_GONE = N_("JupyterHub does not know this user any more.")

_log = logging.getLogger(__name__)


class GroupResets:
    """Drives resets of groups to their end. Lives in one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        resets: ResetWorkflow,
        *,
        at_once: int = 4,
        poll: float = 1.0,
        retry: float = 3.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`poll` and `retry` in seconds: between two looks, and when hub or ledger are away."""
        self._ledger = ledger
        self._resets = resets
        self._at_once = at_once
        self._poll = poll
        self._retry = retry
        self._now = now
        self._turn = asyncio.Lock()  # two groups must not fill the same room
        self._tasks = KeyedTasks("group reset", _log)

    @property
    def at_once(self) -> int:
        """How many members' resets are under way at most."""
        return self._at_once

    async def begin(
        self, group: str, users: Collection[str], *, requested_by: str, reason: str
    ) -> GroupReset:
        """Set out on it, or tell of the one of this group that is under way already."""
        found = await asyncio.to_thread(
            self._ledger.begin_group_reset,
            group,
            users,
            requested_by=requested_by,
            reason=reason,
            now=self._now(),
        )
        self._tasks.see_to(found.id, self._drive)
        return found

    async def cancel(self, group: str, by: str) -> GroupReset:
        """Nobody else is begun. Raises Conflict if none is under way."""
        return await asyncio.to_thread(
            self._ledger.cancel_group_reset, group, self._now(), actor=by
        )

    async def resume(self) -> None:
        """Go on with what an earlier service left unfinished; after ResetWorkflow.resume."""
        for found in await self._persist(self._ledger.running_group_resets):
            _log.info("resuming the reset of the group %s by %s", found.group, found.requested_by)
            self._tasks.see_to(found.id, self._drive)

    async def close(self) -> None:
        """Stop working; what is unfinished stays in the ledger for `resume`."""
        await self._tasks.cancel()

    async def settled(self) -> None:
        """Wait until nothing is under way in this process."""
        await self._tasks.settled()

    async def _drive(self, group_reset_id: str) -> None:
        while True:
            found = await self._persist(lambda: self._ledger.finish_group_reset(group_reset_id))
            if found.state is not GroupResetState.RUNNING:
                _log.info("the reset of the group %s is %s", found.group, found.state)
                return
            try:
                async with self._turn:
                    await self._fill(found)
            except (HubUnavailable, LedgerUnavailable) as error:
                _log.warning("the reset of the group %s waits: %s", found.group, error)
                await asyncio.sleep(self._retry)
            await asyncio.sleep(self._poll)

    async def _fill(self, found: GroupReset) -> None:
        """Begin members until as many are under way as may be."""
        unfinished = await asyncio.to_thread(self._ledger.unfinished_operations)
        busy = {each.user for each in unfinished if not each.server}
        room = self._at_once - sum(bool(each.group_reset) for each in unfinished)
        for member in found.members:
            # begun in a last moment of an earlier service, or left by an error
            if member.operation is not None and member.operation.step not in FINAL_STEPS:
                self._resets.go_on(member.operation)
        for member in found.members:
            if room <= 0:
                return
            if member.operation is None and not member.refusal and member.user not in busy:
                room -= await self._begin(found, member.user)

    async def _begin(self, found: GroupReset, user: str) -> bool:
        """Whether the member's reset is under way now."""
        try:
            await self._resets.begin(
                OperationKind.RESET,
                user,
                "",
                requested_by=found.requested_by,
                reason=found.reason,
                group_reset=found.id,
            )
        except Conflict:
            return False  # their own has begun meanwhile, or this was cancelled: looked at again
        except NotFound:
            await self._refuse(found, user, USER_GONE)
            return False
        except HubRefused as error:
            await self._refuse(found, user, str(error))
            return False
        return True

    async def _refuse(self, found: GroupReset, user: str, why: str) -> None:
        _log.warning("%s of the group %s is not reset: %s", user, found.group, why)
        await asyncio.to_thread(self._ledger.refuse_member, found.id, user, why)

    async def _persist(self, call: Callable[[], T]) -> T:
        """Call the ledger off the event loop, again and again until it answers."""
        while True:
            try:
                return await asyncio.to_thread(call)
            except LedgerUnavailable as error:
                _log.error("waiting for the ledger: %s", error)
                await asyncio.sleep(self._retry)


def under_way(found: GroupReset) -> bool:
    """Whether something of it still happens; after a cancel, what had begun goes on."""
    return found.state is GroupResetState.RUNNING or any(
        member.operation is not None and member.operation.step not in FINAL_STEPS
        for member in found.members
    )
