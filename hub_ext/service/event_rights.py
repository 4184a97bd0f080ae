"""Which events somebody may see: what they may see by other addresses of the API, and no more.

Guarantees: an event about a server is for those who may read that server; about a group, for those
who may read all of it; about a device, for those who may see all devices. The whole audit trail is
for those who may read it. Groups come from JupyterHub and are believed for half a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..errors import NotFound
from ..models import AuditEntry
from ..scopes import DEVICES_READ, ENVIRONMENT_READ, LEASES_READ
from .auth import Caller, Resource
from .hub_api import HubClient

BELIEVED_SECONDS = 30.0
MOST_USERS = 10_000


class GroupsOf:
    """The groups of users, asked for once in a while."""

    def __init__(self, hub: HubClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}

    async def __call__(self, user: str) -> tuple[str, ...]:
        """None at all for a user whom JupyterHub does not know. Raises HubUnavailable."""
        at, groups = self._known.get(user, (float("-inf"), ()))
        if self._clock() - at < BELIEVED_SECONDS:
            return groups
        try:
            groups = (await self._hub.user(user)).groups
        except NotFound:
            groups = ()
        if len(self._known) >= MOST_USERS:
            self._known.clear()
        self._known[user] = (self._clock(), groups)
        return groups


async def may_see(caller: Caller, entry: AuditEntry, groups_of: GroupsOf) -> bool:
    """Whether this caller may see this line. Raises HubUnavailable, HubRefused."""
    if caller.holds_for_all(LEASES_READ):
        return True
    if entry.user:
        resource = Resource(entry.user, entry.server)
        if caller.may(ENVIRONMENT_READ, resource):
            return True
        if not caller.filters_by_group(ENVIRONMENT_READ):
            return False
        return caller.may(ENVIRONMENT_READ, resource, await groups_of(entry.user))
    if entry.group:
        return caller.may_for_group(ENVIRONMENT_READ, entry.group)
    return bool(entry.device) and caller.holds_for_all(DEVICES_READ)
