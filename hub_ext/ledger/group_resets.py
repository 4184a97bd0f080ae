"""Resets of whole groups: who is in one, and how it goes.

Guarantees: one under way per group; who was in the group when it was asked for is fixed; nobody is
reset twice by one, however often the service is killed, because the operation itself says what it
is a part of; once cancelled or done, nothing is begun any more.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from ..audit_actions import Action
from ..errors import Conflict, NotFound
from ..i18n import _
from ..models import FINAL_STEPS, GroupMember, GroupReset, GroupResetState
from . import audit, operations
from .tables import group_reset, group_reset_member

_RUNNING = group_reset.c.state == GroupResetState.RUNNING.value


def begin(
    connection: Connection,
    group: str,
    users: Collection[str],
    *,
    requested_by: str,
    reason: str,
    now: datetime,
) -> GroupReset:
    """Write down a reset of all these users; if one of the group is under way, that one."""
    under_way = connection.execute(
        select(group_reset).where(group_reset.c.group_name == group, _RUNNING)
    ).one_or_none()
    if under_way is not None:
        return _group_reset(connection, under_way)
    made = uuid.uuid4().hex
    connection.execute(
        insert(group_reset).values(
            id=made,
            group_name=group,
            state=GroupResetState.RUNNING.value,
            requested_by=requested_by,
            requested_at=now,
            reason=reason,
        )
    )
    if users:
        connection.execute(
            insert(group_reset_member),
            [
                {"group_reset": made, "user_name": user, "refusal": ""}
                for user in sorted(set(users))
            ],
        )
    begun = one(connection, made)
    _note(connection, begun, now, requested_by, Action.GROUP_RESET_BEGIN, f"{len(users)} people")
    return begun


def one(connection: Connection, group_reset_id: str) -> GroupReset:
    """A reset of a group by its id. Raises NotFound."""
    row = connection.execute(
        select(group_reset).where(group_reset.c.id == group_reset_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no reset {group_reset_id} of a group.")
    return _group_reset(connection, row)


def latest(connection: Connection, group: str) -> GroupReset | None:
    """The one under way, else the last one."""
    row = connection.execute(
        select(group_reset)
        .where(group_reset.c.group_name == group)
        .order_by(_RUNNING.desc(), group_reset.c.requested_at.desc(), group_reset.c.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else _group_reset(connection, row)


def running(connection: Connection) -> tuple[GroupReset, ...]:
    """All under way, oldest first."""
    rows = connection.execute(
        select(group_reset).where(_RUNNING).order_by(group_reset.c.requested_at, group_reset.c.id)
    ).all()
    return tuple(_group_reset(connection, row) for row in rows)


def require_turn(connection: Connection, group_reset_id: str, user: str) -> None:
    """Raises Conflict unless this reset goes on and this member's operation is to be begun."""
    found = one(connection, group_reset_id)
    mine = [member for member in found.members if member.user == user]
    if found.state is not GroupResetState.RUNNING or not mine or mine[0].operation is not None:
        raise Conflict(f"{user} is not to be reset (any more) by {group_reset_id}.")


def refuse(
    connection: Connection, group_reset_id: str, user: str, why: str, now: datetime, actor: str
) -> None:
    """This member cannot be reset, and is not tried again. Raises NotFound."""
    found = one(connection, group_reset_id)
    connection.execute(
        update(group_reset_member)
        .where(
            group_reset_member.c.group_reset == group_reset_id,
            group_reset_member.c.user_name == user,
        )
        .values(refusal=why)
    )
    _note(connection, found, now, actor, Action.GROUP_RESET_REFUSE, why, user)


def finish(connection: Connection, group_reset_id: str, now: datetime, actor: str) -> GroupReset:
    """DONE if every member has a result and it was not cancelled before."""
    found = one(connection, group_reset_id)
    if found.state is GroupResetState.RUNNING and all(map(has_result, found.members)):
        _set_state(connection, group_reset_id, GroupResetState.DONE)
        _note(connection, found, now, actor, Action.GROUP_RESET_FINISH, "")
    return one(connection, group_reset_id)


def cancel(connection: Connection, group: str, now: datetime, actor: str) -> GroupReset:
    """Nobody else is begun. Raises Conflict if none is under way."""
    found = latest(connection, group)
    if found is None or found.state is not GroupResetState.RUNNING:
        raise Conflict(_("No reset of this group is under way."))
    _set_state(connection, found.id, GroupResetState.CANCELLED)
    _note(connection, found, now, actor, Action.GROUP_RESET_CANCEL, "")
    return one(connection, found.id)


def has_result(member: GroupMember) -> bool:
    """Whether nothing more happens to this member."""
    if member.operation is not None:
        return member.operation.step in FINAL_STEPS
    return bool(member.refusal)


def _note(
    connection: Connection,
    found: GroupReset,
    now: datetime,
    actor: str,
    action: Action,
    detail: str,
    user: str = "",
) -> None:
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=action,
        detail=detail,
        user=user,
        group=found.group,
        reason=found.reason,
    )


def _set_state(connection: Connection, group_reset_id: str, state: GroupResetState) -> None:
    connection.execute(
        update(group_reset).where(group_reset.c.id == group_reset_id).values(state=state.value)
    )


def _group_reset(connection: Connection, row: Row[Any]) -> GroupReset:
    begun = operations.of_group_reset(connection, row.id)
    members = connection.execute(
        select(group_reset_member)
        .where(group_reset_member.c.group_reset == row.id)
        .order_by(group_reset_member.c.user_name)
    )
    return GroupReset(
        id=row.id,
        group=row.group_name,
        state=GroupResetState(row.state),
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        reason=row.reason,
        members=tuple(
            GroupMember(each.user_name, begun.get(each.user_name), each.refusal) for each in members
        ),
    )
