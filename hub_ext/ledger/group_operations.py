"""Resets, starts and stops of whole groups: who is in one, and how it goes.

Guarantees: one under way per group; who was in the group when it was asked for is fixed; nobody is
reset twice by one, however often the service is killed, because the operation itself says what it
is a part of; a start or stop is written down before JupyterHub is asked; once cancelled or done,
nothing is begun any more. Whoever was told that their server will be stopped reads when that was
taken back: the notice is gone.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from ..audit_actions import Action
from ..errors import Conflict, NotFound
from ..i18n import N_, _
from ..models import (
    FINAL_STEPS,
    GroupAction,
    GroupMember,
    GroupOperation,
    GroupOperationState,
    MemberState,
    NoticeKind,
)
from . import audit, leases, notices, operations
from .tables import group_operation, group_operation_member, operation

_RUNNING = group_operation.c.state == GroupOperationState.RUNNING.value
_UNFINISHED = (MemberState.PENDING, MemberState.UNDER_WAY)


class _Actions(NamedTuple):
    begin: Action
    result: Action
    cancel: Action
    finish: Action


_ACTIONS = {
    GroupAction.RESET: _Actions(
        Action.GROUP_RESET_BEGIN,
        Action.GROUP_RESET_REFUSE,
        Action.GROUP_RESET_CANCEL,
        Action.GROUP_RESET_FINISH,
    ),
    GroupAction.START: _Actions(
        Action.GROUP_START_BEGIN,
        Action.GROUP_START_RESULT,
        Action.GROUP_START_CANCEL,
        Action.GROUP_START_FINISH,
    ),
    GroupAction.STOP: _Actions(
        Action.GROUP_STOP_BEGIN,
        Action.GROUP_STOP_RESULT,
        Action.GROUP_STOP_CANCEL,
        Action.GROUP_STOP_FINISH,
    ),
}
_ASKS = {GroupAction.START: Action.GROUP_START_ASK, GroupAction.STOP: Action.GROUP_STOP_ASK}

_NONE_UNDER_WAY = {
    GroupAction.RESET: N_("No reset of this group is under way."),
    GroupAction.START: N_("No start of this group is under way."),
    GroupAction.STOP: N_("No stop of this group is under way."),
}
_OTHER_UNDER_WAY = {
    GroupAction.RESET: N_("This group is being reset: wait until that is done, or cancel it."),
    GroupAction.START: N_("This group is being started: wait until that is done, or cancel it."),
    GroupAction.STOP: N_("This group is being stopped: wait until that is done, or cancel it."),
}


def begin(
    connection: Connection,
    action: GroupAction,
    group: str,
    users: Collection[str],
    *,
    requested_by: str,
    reason: str,
    now: datetime,
    due: datetime | None = None,
) -> GroupOperation:
    """Write down what is to be done about all these users; if it is under way already, that one.

    Raises Conflict while something else is under way.
    """
    under_way = connection.execute(
        select(group_operation).where(group_operation.c.group_name == group, _RUNNING)
    ).one_or_none()
    if under_way is not None:
        if under_way.action != action.value:
            raise Conflict(_(_OTHER_UNDER_WAY[GroupAction(under_way.action)]))
        return _found(connection, under_way)
    made = uuid.uuid4().hex
    connection.execute(
        insert(group_operation).values(
            id=made,
            action=action.value,
            group_name=group,
            state=GroupOperationState.RUNNING.value,
            requested_by=requested_by,
            requested_at=now,
            reason=reason,
            due=due,
        )
    )
    if users:
        member = {"group_operation": made, "state": MemberState.PENDING.value, "note": ""}
        connection.execute(
            insert(group_operation_member),
            [{**member, "user_name": user, "told": False} for user in sorted(set(users))],
        )
    begun = one(connection, made)
    told = f"{len(users)} people" + (f", from {due.isoformat()} on" if due else "")
    _note(connection, begun, now, requested_by, _ACTIONS[action].begin, told)
    return begun


def one(connection: Connection, operation_id: str) -> GroupOperation:
    """By its id. Raises NotFound."""
    row = connection.execute(
        select(group_operation).where(group_operation.c.id == operation_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is nothing with the id {operation_id} about a group.")
    return _found(connection, row)


def latest(
    connection: Connection, group: str, action: GroupAction | None = None
) -> GroupOperation | None:
    """The one under way, else the last one; of this kind, or of any."""
    query = select(group_operation).where(group_operation.c.group_name == group)
    if action is not None:
        query = query.where(group_operation.c.action == action.value)
    row = connection.execute(
        query.order_by(
            _RUNNING.desc(), group_operation.c.requested_at.desc(), group_operation.c.id
        ).limit(1)
    ).one_or_none()
    return None if row is None else _found(connection, row)


def unfinished(connection: Connection) -> tuple[GroupOperation, ...]:
    """All under way, and cancelled ones of which something had begun; oldest first."""
    begun = select(group_operation_member.c.group_operation).where(
        group_operation_member.c.state == MemberState.UNDER_WAY.value
    )
    rows = connection.execute(
        select(group_operation)
        .where(_RUNNING | group_operation.c.id.in_(begun))
        .order_by(group_operation.c.requested_at, group_operation.c.id)
    ).all()
    return tuple(_found(connection, row) for row in rows)


def running(connection: Connection) -> dict[str, GroupAction]:
    """What is under way, by group."""
    rows = connection.execute(
        select(group_operation.c.group_name, group_operation.c.action).where(_RUNNING)
    )
    return {group: GroupAction(action) for group, action in rows}


def without_result(connection: Connection) -> dict[GroupAction, int]:
    """How many members of what is under way have no result yet."""
    over = (
        select(operation.c.id)
        .where(
            operation.c.group_reset == group_operation.c.id,
            operation.c.user_name == group_operation_member.c.user_name,
            operation.c.step.in_([step.value for step in FINAL_STEPS]),
        )
        .exists()
    )
    rows = connection.execute(
        select(group_operation.c.action, func.count())
        .join(group_operation_member)
        .where(
            _RUNNING,
            group_operation_member.c.state.in_([each.value for each in _UNFINISHED]),
            ~over,
        )
        .group_by(group_operation.c.action)
    )
    return {GroupAction(action): count for action, count in rows}


def require_turn(connection: Connection, operation_id: str, user: str) -> None:
    """Raises Conflict unless it goes on and this member is still to be begun."""
    found = one(connection, operation_id)
    mine = [member for member in found.members if member.user == user]
    if (
        found.state is not GroupOperationState.RUNNING
        or not mine
        or mine[0].operation is not None
        or mine[0].state is not MemberState.PENDING
    ):
        raise Conflict(f"{user} is not to be begun (any more) by {operation_id}.")


def begin_member(
    connection: Connection, operation_id: str, user: str, now: datetime, actor: str
) -> None:
    """JupyterHub is about to be asked for this member's start or stop. Raises Conflict."""
    require_turn(connection, operation_id, user)
    _set_member(connection, operation_id, user, MemberState.UNDER_WAY, "")
    found = one(connection, operation_id)
    _note(connection, found, now, actor, _ASKS[found.action], "", user)


def end_member(
    connection: Connection,
    operation_id: str,
    user: str,
    state: MemberState,
    note: str,
    now: datetime,
    actor: str,
) -> bool:
    """This is the member's result, and is not changed any more. False: there was one before.

    Raises NotFound.
    """
    found = one(connection, operation_id)
    changed = _set_member(connection, operation_id, user, state, note)
    if not changed:
        return False  # perhaps of a call whose reply was lost
    if found.action is GroupAction.STOP:
        _take_announcement_back(connection, found, user)
        if state is MemberState.DONE:
            detail = {"by": found.requested_by, "reason": found.reason}
            notices.add(connection, user, "", NoticeKind.STOPPED_WITH_GROUP, detail, now, actor)
    told = note if found.action is GroupAction.RESET else f"{state.value}: {note}".rstrip(": ")
    _note(connection, found, now, actor, _ACTIONS[found.action].result, told, user)
    return True


def announce(connection: Connection, operation_id: str, now: datetime, actor: str) -> None:
    """Tell all who have a server, and were not told yet, that it is stopped."""
    found = one(connection, operation_id)
    if found.state is not GroupOperationState.RUNNING or found.due is None:
        return
    here = {lease.user for lease in leases.live(connection) if not lease.server}
    untold = connection.execute(
        select(group_operation_member.c.user_name)
        .where(
            group_operation_member.c.group_operation == operation_id,
            group_operation_member.c.state == MemberState.PENDING.value,
            group_operation_member.c.told.is_(False),
        )
        .order_by(group_operation_member.c.user_name)
    ).scalars()
    told = [user for user in untold if user in here]
    detail = {
        "by": found.requested_by,
        "reason": found.reason,
        "until": found.due.isoformat(),
        "occasion": found.id,
    }
    servers = [(user, "") for user in told]
    notices.add_all(connection, servers, NoticeKind.STOP_ANNOUNCED, detail, now, actor)
    for user in told:
        connection.execute(
            update(group_operation_member).where(*_is(operation_id, user)).values(told=True)
        )


def finish(connection: Connection, operation_id: str, now: datetime, actor: str) -> GroupOperation:
    """DONE if every member has a result and it was not cancelled before."""
    found = one(connection, operation_id)
    if found.state is GroupOperationState.RUNNING and all(map(has_result, found.members)):
        _set_state(connection, operation_id, GroupOperationState.DONE)
        _note(connection, found, now, actor, _ACTIONS[found.action].finish, "")
        return one(connection, operation_id)
    return found


def cancel(
    connection: Connection, action: GroupAction, group: str, now: datetime, actor: str
) -> GroupOperation:
    """Nobody else is begun. Raises Conflict if none is under way."""
    found = latest(connection, group, action)
    if found is None or found.state is not GroupOperationState.RUNNING:
        raise Conflict(_(_NONE_UNDER_WAY[action]))
    _set_state(connection, found.id, GroupOperationState.CANCELLED)
    for member in found.members:
        if member.state is MemberState.PENDING and action is GroupAction.STOP:
            _take_announcement_back(connection, found, member.user)
    _note(connection, found, now, actor, _ACTIONS[action].cancel, "")
    return one(connection, found.id)


def has_result(member: GroupMember) -> bool:
    """Whether nothing more happens to this member."""
    if member.operation is not None:
        return member.operation.step in FINAL_STEPS
    return member.state not in _UNFINISHED


def _take_announcement_back(connection: Connection, found: GroupOperation, user: str) -> None:
    told = connection.execute(
        select(group_operation_member.c.told).where(*_is(found.id, user))
    ).scalar()
    if told:
        notices.forget(connection, user, "", NoticeKind.STOP_ANNOUNCED, occasion=found.id)


def _is(operation_id: str, user: str) -> tuple[ColumnElement[bool], ...]:
    return (
        group_operation_member.c.group_operation == operation_id,
        group_operation_member.c.user_name == user,
    )


def _set_member(
    connection: Connection, operation_id: str, user: str, state: MemberState, note: str
) -> bool:
    """Whether it was without a result until now."""
    found = connection.execute(
        update(group_operation_member)
        .where(
            *_is(operation_id, user),
            group_operation_member.c.state.in_([each.value for each in _UNFINISHED]),
        )
        .values(state=state.value, note=note)
    )
    return bool(found.rowcount)


def _note(
    connection: Connection,
    found: GroupOperation,
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


def _set_state(connection: Connection, operation_id: str, state: GroupOperationState) -> None:
    connection.execute(
        update(group_operation)
        .where(group_operation.c.id == operation_id)
        .values(state=state.value)
    )


def _found(connection: Connection, row: Row[Any]) -> GroupOperation:
    begun = operations.of_group_reset(connection, row.id)
    members = connection.execute(
        select(group_operation_member)
        .where(group_operation_member.c.group_operation == row.id)
        .order_by(group_operation_member.c.user_name)
    )
    return GroupOperation(
        id=row.id,
        action=GroupAction(row.action),
        group=row.group_name,
        state=GroupOperationState(row.state),
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        reason=row.reason,
        due=row.due,
        members=tuple(
            GroupMember(
                each.user_name, begun.get(each.user_name), MemberState(each.state), each.note
            )
            for each in members
        ),
    )
