"""Starts or stops one member's default server, as a part of what is done about a whole group.

Guarantees:
- It is looked at first: a server that is so already is left alone, and is no failure.
- It is written down before JupyterHub is asked, so a service that was killed anywhere goes on with
  it. A server whose start ended is not started again, unless nobody knows that it was asked for.
- A start that has to wait in line for a device is not waited for: that is its result.
- What has begun has an end: a hub that does not answer is waited for until the time is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from ..errors import Conflict, HubRefused, HubUnavailable, NotFound
from ..i18n import N_
from ..ledger import Ledger
from ..models import GroupAction, GroupMember, GroupOperation, MemberState
from .hub_api import HubServer
from .pacing import Deadline, Pace

USER_GONE = N_("JupyterHub does not know this user any more.")
RUNS_ALREADY = N_("The server runs already.")
STARTS_ALREADY = N_("The server is starting already, or waits in line.")
DOES_NOT_RUN = N_("The server does not run.")
DID_NOT_START = N_("The server ended before it answered; its user can read why in JupyterHub.")
STILL_STARTING = N_("The server is still starting; watch it in JupyterHub.")
DOES_NOT_STOP = N_("The server did not stop in time; try again, or stop it in JupyterHub.")
HUB_SILENT = N_("JupyterHub did not answer; try again.")

_log = logging.getLogger(__name__)


class Hub(Protocol):
    """What this module asks of JupyterHub (service/hub_api.py)."""

    async def server(self, user: str, server: str) -> HubServer | None: ...
    async def stop(self, user: str, server: str) -> None: ...
    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds."""

    poll: float = 1.0  # at most, between looks
    start: float = 600.0
    stop: float = 120.0
    retry: float = 3.0  # when the hub does not answer
    stop_again: float = 10.0  # a stop that shows no effect is asked for again
    starts: int = 2  # how often a start is asked for whose reply was lost


@dataclass(frozen=True, slots=True)
class Outcome:
    """A member's result."""

    state: MemberState
    note: str = ""


class GroupServers:
    """Lives in one event loop. Raises LedgerUnavailable; the same may be asked for again then."""

    def __init__(
        self,
        ledger: Ledger,
        hub: Hub,
        *,
        limits: Limits | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._hub = hub
        self._limits = limits or Limits()
        self._now = now

    async def see_through(self, found: GroupOperation, member: GroupMember) -> Outcome | None:
        """Until the member has a result; None if they are not to be begun any more."""
        begun = member.state is MemberState.UNDER_WAY
        try:
            if found.action is GroupAction.START:
                return await self._start(found, member.user, begun)
            return await self._stop(found, member.user, begun)
        except NotFound:
            return Outcome(MemberState.FAILED, USER_GONE)
        except Conflict:
            return None

    async def _begin(self, found: GroupOperation, user: str) -> None:
        """Raises Conflict, LedgerUnavailable."""
        await asyncio.to_thread(self._ledger.begin_group_member, found.id, user, self._now())

    async def _start(self, found: GroupOperation, user: str, begun: bool) -> Outcome:
        deadline = Deadline(self._limits.start)
        pace = Pace(self._limits.poll)
        tries, answered, reason = 0, False, ""
        while True:
            silent = False
            try:
                server = await self._hub.server(user, "")
                if server is None or server.stopped:
                    if answered or tries >= self._limits.starts:
                        return Outcome(MemberState.FAILED, reason or DID_NOT_START)
                    if not begun:
                        await self._begin(found, user)
                        begun = True
                    tries += 1
                    try:
                        await self._hub.start(user, "", server.user_options if server else {})
                    except HubRefused as error:
                        reason = str(error)  # or somebody was faster: the next look says which
                    answered = True
                    continue  # the hub answers when it is ready, or after ten seconds
                if server.ready:
                    if begun:
                        return Outcome(MemberState.DONE)
                    return Outcome(MemberState.SKIPPED, RUNS_ALREADY)
                if server.pending == "spawn":
                    if not begun:
                        return Outcome(MemberState.SKIPPED, STARTS_ALREADY)
                    answered = True  # perhaps of a start whose reply was lost
                    if await self._waits_in_line(user):
                        return Outcome(MemberState.QUEUED)
            except HubUnavailable as error:
                _log.warning("the start of %s waits: %s", user, error)
                silent = True
            except HubRefused as error:
                return Outcome(MemberState.FAILED, str(error))
            if deadline.passed and (begun or not silent):
                return Outcome(MemberState.FAILED, HUB_SILENT if silent else STILL_STARTING)
            await asyncio.sleep(self._limits.retry if silent else pace.next())

    async def _stop(self, found: GroupOperation, user: str, begun: bool) -> Outcome:
        deadline = Deadline(self._limits.stop)
        ask_again = Deadline(0)
        pace = Pace(self._limits.poll)
        reason = ""
        while True:
            silent = False
            try:
                server = await self._hub.server(user, "")
                if server is None or server.stopped:
                    # a place in line that a restart of the hub left would start it later
                    if not await self._waits_in_line(user):
                        if begun:
                            return Outcome(MemberState.DONE)
                        return Outcome(MemberState.SKIPPED, DOES_NOT_RUN)
                    if not begun:
                        await self._begin(found, user)
                        begun = True
                    await asyncio.to_thread(self._ledger.withdraw, user, "")
                elif server.pending != "stop" and ask_again.passed:
                    if not begun:
                        await self._begin(found, user)
                        begun = True
                    ask_again = Deadline(self._limits.stop_again)
                    await self._hub.stop(user, "")
                    pace = Pace(self._limits.poll)
                    continue  # the hub answers when it has stopped, or after ten seconds
            except HubUnavailable as error:
                _log.warning("the stop of %s waits: %s", user, error)
                silent = True
            except HubRefused as error:
                reason = str(error)
            if deadline.passed and (begun or not silent):
                return Outcome(
                    MemberState.FAILED, HUB_SILENT if silent else reason or DOES_NOT_STOP
                )
            await asyncio.sleep(self._limits.retry if silent else pace.next())

    async def _waits_in_line(self, user: str) -> bool:
        queue = await asyncio.to_thread(self._ledger.queue)
        return any((each.request.user, each.request.server) == (user, "") for each in queue)
