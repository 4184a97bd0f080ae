"""What the service tells about groups and their resets, as JSON-ready values.

Guarantees: only groups that the caller may reset as a whole are told.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from ..errors import NotFound
from ..i18n import _
from ..models import FINAL_STEPS, GroupMember, GroupReset, GroupResetState, OperationStep
from ..scopes import ENVIRONMENT_RESET
from .auth import Caller
from .group_resets import under_way
from .hub_api import HubGroup
from .lease_views import Json
from .wording import failure_message

if TYPE_CHECKING:
    from .parts import Service

STATES = ("waiting", "under_way", "done", "failed", "left")


async def groups_view(service: Service, caller: Caller) -> list[Json]:
    """The groups that the caller may reset, by name. Raises HubUnavailable, HubRefused."""
    found = [
        group
        for group in await service.hub.groups()
        if caller.may_for_group(ENVIRONMENT_RESET, group.name)
    ]
    running = {each.group for each in await asyncio.to_thread(service.ledger.running_group_resets)}
    return [
        {"name": group.name, "users": len(group.users), "resetting": group.name in running}
        for group in found
    ]


async def find_group(service: Service, name: str) -> HubGroup:
    """Who is in a group. Raises NotFound, HubUnavailable, HubRefused."""
    try:
        return await service.hub.group(name)
    except NotFound as error:
        raise NotFound(_("There is no such group.")) from error


def group_reset_view(found: GroupReset) -> Json:
    """A reset of a group with a result per user."""
    members = [_member(each, found.state) for each in found.members]
    counted = Counter(each["state"] for each in members)
    return {
        "id": found.id,
        "group": found.group,
        "state": found.state.value,
        "under_way": under_way(found),
        "requested_by": found.requested_by,
        "requested_at": found.requested_at.isoformat(),
        "reason": found.reason,
        "counts": {state: counted[state] for state in STATES},
        "members": members,
    }


def _member(member: GroupMember, state: GroupResetState) -> Json:
    operation = member.operation
    message = None
    if operation is None:
        if member.refusal:
            said, message = "failed", _(member.refusal)
        else:
            said = "waiting" if state is GroupResetState.RUNNING else "left"
    elif operation.step not in FINAL_STEPS:
        said = "under_way"
    else:
        said = "done" if operation.step is OperationStep.DONE else "failed"
        message = failure_message(operation.error) if operation.error else None
    return {
        "user": member.user,
        "state": said,
        "operation": operation.id if operation is not None else None,
        "message": message,
    }
