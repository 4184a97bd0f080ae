"""Resets, starts and stops of whole groups: the members' one after the other, a few at a time.

Guarantees:
- At most `at_once` members are under way, of all groups together.
- Who is begun, and what came of it, is in the ledger, so a service that was killed anywhere goes on
  when it returns, and nobody is reset twice.
- A member whose own reset or undo is under way waits until that is done. One who cannot be seen
  to (JupyterHub does not know them any more, or refuses) has the reason as their result, and the
  others go on.
- A hub or a ledger that does not answer is waited for. After `cancel` nobody else is begun.
- A stop that is announced tells everybody who has a server, and stops nobody before its time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from ..errors import Conflict, HubRefused, HubUnavailable, LedgerUnavailable, NotFound
from ..i18n import N_
from ..ledger import Ledger
from ..models import (
    FINAL_STEPS,
    GroupAction,
    GroupMember,
    GroupOperation,
    GroupOperationState,
    MemberState,
    OperationKind,
)
from . import counters
from .group_servers import USER_GONE, GroupServers, Outcome
from .keyed_tasks import KeyedTasks
from .reset import ResetWorkflow

T = TypeVar("T")

UNEXPECTED = N_("Something unexpected happened in gpucamp; the service's log says more.")
ANNOUNCE_POLLS = 5  # who starts a server before a stop that was announced is told, too

_log = logging.getLogger(__name__)


class GroupOperations:
    """Drives what is done about groups to its end. Lives in one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        resets: ResetWorkflow,
        servers: GroupServers,
        *,
        at_once: int = 4,
        poll: float = 1.0,
        retry: float = 3.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`poll` and `retry` in seconds: between two looks, and when hub or ledger are away."""
        self._ledger = ledger
        self._resets = resets
        self._servers = servers
        self._at_once = at_once
        self._poll = poll
        self._retry = retry
        self._now = now
        self._turn = asyncio.Lock()  # two groups must not fill the same room
        self._room = asyncio.Event()  # a member's start or stop has ended
        self._tasks = KeyedTasks("group", _log)
        self._members = KeyedTasks("member of group", _log)

    @property
    def at_once(self) -> int:
        """How many members are under way at most."""
        return self._at_once

    async def begin(
        self,
        action: GroupAction,
        group: str,
        users: Collection[str],
        *,
        requested_by: str,
        reason: str,
        minutes: int = 0,
    ) -> GroupOperation:
        """Set out on it in so many minutes, or tell of the same that is under way already.

        Raises Conflict while something else is under way for this group, LedgerUnavailable.
        """
        now = self._now()
        found = await asyncio.to_thread(
            self._ledger.begin_group_operation,
            action,
            group,
            users,
            requested_by=requested_by,
            reason=reason,
            now=now,
            due=now + timedelta(minutes=minutes) if minutes else None,
        )
        self._tasks.see_to(found.id, self._drive)
        return found

    async def cancel(self, action: GroupAction, group: str, by: str) -> GroupOperation:
        """Nobody else is begun. Raises Conflict if none is under way."""
        return await asyncio.to_thread(
            self._ledger.cancel_group_operation, action, group, self._now(), actor=by
        )

    async def resume(self) -> None:
        """Go on with what an earlier service left unfinished; after ResetWorkflow.resume."""
        for found in await self._persist(self._ledger.unfinished_group_operations):
            _log.info(
                "resuming the %s of the group %s by %s",
                found.action,
                found.group,
                found.requested_by,
            )
            self._tasks.see_to(found.id, self._drive)

    async def close(self) -> None:
        """Stop working; what is unfinished stays in the ledger for `resume`."""
        await self._tasks.cancel()
        await self._members.cancel()

    async def settled(self) -> None:
        """Wait until nothing is under way in this process."""
        await self._tasks.settled()
        await self._members.settled()

    async def _drive(self, operation_id: str) -> None:
        while True:
            found = await self._persist(lambda: self._ledger.finish_group_operation(operation_id))
            self._go_on(found)
            if found.state is not GroupOperationState.RUNNING:
                _log.info("the %s of the group %s is %s", found.action, found.group, found.state)
                return
            pause = self._poll
            try:
                left = (found.due - self._now()).total_seconds() if found.due is not None else 0
                if left > 0:
                    await asyncio.to_thread(self._ledger.announce_group_stop, found.id, self._now())
                    pause = min(left, ANNOUNCE_POLLS * self._poll)
                else:
                    async with self._turn:
                        await self._fill(found)
            except (HubUnavailable, LedgerUnavailable) as error:
                _log.warning("the %s of the group %s waits: %s", found.action, found.group, error)
                await asyncio.sleep(self._retry)
            # not wait_for: until Python 3.12 it may swallow a cancel
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._room.wait()
            self._room.clear()

    def _go_on(self, found: GroupOperation) -> None:
        """With what was begun in a last moment of an earlier service, or left by an error."""
        for member in found.members:
            if member.operation is not None and member.operation.step not in FINAL_STEPS:
                self._resets.go_on(member.operation)
            if member.state is MemberState.UNDER_WAY:
                self._see_to(found, member)

    async def _fill(self, found: GroupOperation) -> None:
        """Begin members until as many are under way as may be."""
        unfinished = await asyncio.to_thread(self._ledger.unfinished_operations)
        busy = {each.user for each in unfinished if not each.server}
        resets = sum(bool(each.group_reset) for each in unfinished)
        room = self._at_once - resets - len(self._members)
        for member in found.members:
            if room <= 0:
                return
            if (
                member.operation is not None
                or member.state is not MemberState.PENDING
                or member.user in busy
            ):
                continue
            if found.action is GroupAction.RESET:
                room -= await self._reset(found, member.user)
            else:
                room -= self._see_to(found, member)

    # -- starts and stops

    def _see_to(self, found: GroupOperation, member: GroupMember) -> bool:
        """Whether it begins now."""
        return self._members.see_to(
            f"{found.id}/{member.user}", partial(self._see_through, found, member)
        )

    async def _see_through(self, found: GroupOperation, member: GroupMember, _key: str) -> None:
        while True:
            try:
                outcome = await self._servers.see_through(found, member)
                break
            except LedgerUnavailable as error:
                _log.error("%s of the group %s waits: %s", member.user, found.group, error)
                await asyncio.sleep(self._retry)
                now = await self._persist(lambda: self._ledger.group_operation(found.id))
                member = next(each for each in now.members if each.user == member.user)
            except Exception:  # a bug must not leave a member under way for ever
                _log.exception("the %s of %s broke", found.action, member.user)
                outcome = Outcome(MemberState.FAILED, UNEXPECTED)
                break
        if outcome is not None:
            await self._end(found, member.user, outcome)
        self._room.set()

    async def _end(self, found: GroupOperation, user: str, outcome: Outcome) -> None:
        if outcome.state is MemberState.FAILED:
            _log.warning("%s of the group %s: %s", user, found.group, outcome.note)
        tries = 0

        def end() -> bool:
            nonlocal tries
            tries += 1
            return self._ledger.end_group_member(
                found.id, user, outcome.state, outcome.note, self._now()
            )

        # of a try before, whose reply was lost, or of a look that came too late for this member
        if await self._persist(end) or tries > 1:
            counters.group_result(found.action, outcome.state)

    # -- resets

    async def _reset(self, found: GroupOperation, user: str) -> bool:
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
            await self._end(found, user, Outcome(MemberState.FAILED, USER_GONE))
            return False
        except HubRefused as error:
            await self._end(found, user, Outcome(MemberState.FAILED, str(error)))
            return False
        return True

    async def _persist(self, call: Callable[[], T]) -> T:
        """Call the ledger off the event loop, again and again until it answers."""
        while True:
            try:
                return await asyncio.to_thread(call)
            except LedgerUnavailable as error:
                _log.error("waiting for the ledger: %s", error)
                await asyncio.sleep(self._retry)


def under_way(found: GroupOperation) -> bool:
    """Whether something of it still happens; after a cancel, what had begun goes on."""
    return found.state is GroupOperationState.RUNNING or any(
        member.operation is not None and member.operation.step not in FINAL_STEPS
        if found.action is GroupAction.RESET
        else member.state is MemberState.UNDER_WAY
        for member in found.members
    )
