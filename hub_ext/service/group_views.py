"""What the service tells about groups and what is done about them, as JSON-ready values.

Guarantees: only groups that the caller may reset as a whole are told.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import NotFound
from ..i18n import N_, _
from ..models import (
    FINAL_STEPS,
    GroupAction,
    GroupMember,
    GroupOperation,
    GroupOperationState,
    MemberState,
    OperationStep,
)
from ..scopes import ENVIRONMENT_RESET, SERVERS_MANAGE
from .auth import Caller
from .group_operations import under_way
from .hub_api import HubGroup
from .lease_views import Json
from .wording import failure_message

if TYPE_CHECKING:
    from .parts import Service

STATES = ("waiting", "under_way", "queued", "done", "skipped", "failed", "left")
LEFT_THE_LINE = N_("It does not wait in line any more.")


async def groups_view(service: Service, caller: Caller) -> list[Json]:
    """The groups that the caller may reset, by name. Raises HubUnavailable, HubRefused."""
    found = [
        group
        for group in await service.hub.groups()
        if caller.may_for_group(ENVIRONMENT_RESET, group.name)
    ]
    running = await asyncio.to_thread(service.ledger.groups_under_way)
    return [
        {
            "name": group.name,
            "users": len(group.users),
            "under_way": running[group.name].value if group.name in running else None,
        }
        for group in found
    ]


async def find_group(service: Service, name: str) -> HubGroup:
    """Who is in a group. Raises NotFound, HubUnavailable, HubRefused."""
    try:
        return await service.hub.group(name)
    except NotFound as error:
        raise NotFound(_("There is no such group.")) from error


async def latest_view(
    service: Service, group: str, action: GroupAction | None = None
) -> Json | None:
    """What is under way about a group, else what was last. Raises LedgerUnavailable."""
    found = await asyncio.to_thread(service.ledger.group_operation_of, group, action)
    return None if found is None else await group_operation_view(service, found)


async def group_operation_view(service: Service, found: GroupOperation) -> Json:
    """What is done about a group, with a result per user. Raises LedgerUnavailable."""
    ledger = service.ledger
    waiting: set[str] = set()
    served: set[str] = set()
    if any(member.state is MemberState.QUEUED for member in found.members):
        requests = [each.request for each in await asyncio.to_thread(ledger.queue)]
        waiting = {each.user for each in requests if not each.server}
        leases = await asyncio.to_thread(ledger.leases)
        served = {lease.user for lease in leases if not lease.server}
    return as_json(found, waiting, served)


def as_json(
    found: GroupOperation, waiting: Collection[str] = (), served: Collection[str] = ()
) -> Json:
    """`waiting` and `served`: who waits in line now, and who has a lease."""
    members = [_member(each, found, waiting, served) for each in found.members]
    counted = Counter(each["state"] for each in members)
    return {
        "id": found.id,
        "action": found.action.value,
        "group": found.group,
        "state": found.state.value,
        "under_way": under_way(found),
        "requested_by": found.requested_by,
        "requested_at": found.requested_at.isoformat(),
        "due": found.due.isoformat() if found.due else None,
        "reason": found.reason,
        "counts": {state: counted[state] for state in STATES},
        "members": members,
    }


def _member(
    member: GroupMember, found: GroupOperation, waiting: Collection[str], served: Collection[str]
) -> Json:
    operation = member.operation
    message = _(member.note) if member.note else None
    said = member.state.value
    if operation is not None:
        if operation.step not in FINAL_STEPS:
            said = "under_way"
        else:
            said = "done" if operation.step is OperationStep.DONE else "failed"
            message = failure_message(operation.error) if operation.error else None
    elif member.state is MemberState.PENDING:
        said = "waiting" if found.state is GroupOperationState.RUNNING else "left"
    elif member.state is MemberState.QUEUED and member.user not in waiting:
        if member.user in served:
            said = "done"
        else:
            message = _(LEFT_THE_LINE)
    return {
        "user": member.user,
        "state": said,
        "operation": operation.id if operation is not None else None,
        "message": message,
    }


def may_act(caller: Caller, group: str, action: GroupAction) -> bool:
    """Whether the caller may do this about everyone in a group."""
    scope = ENVIRONMENT_RESET if action is GroupAction.RESET else SERVERS_MANAGE
    return caller.may_for_group(scope, group)
