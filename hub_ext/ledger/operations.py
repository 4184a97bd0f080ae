"""Resets and undos under way. One at a time per server; steps only go forward; final ones stay."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from ..audit_actions import Action
from ..errors import Conflict, NotFound
from ..i18n import _
from ..models import FINAL_STEPS, Key, Operation, OperationKind, OperationStep
from . import audit
from .tables import UNFINISHED, group_operation, operation

_ORDER = tuple(OperationStep)
_ACTIONS = {
    OperationKind.RESET: Action.ENVIRONMENT_RESET,
    OperationKind.UNDO: Action.ENVIRONMENT_UNDO,
}
_UNFINISHED = operation.c.step.not_in([step.value for step in FINAL_STEPS])


def begin(
    connection: Connection,
    kind: OperationKind,
    user: str,
    server: str,
    *,
    requested_by: str,
    start_after: bool,
    user_options: dict[str, object],
    now: datetime,
    generation: int | None = None,
    reason: str = "",
    group_reset: str = "",
) -> Operation:
    """Write down what was asked for. Raises Conflict if one is under way for this server."""
    under_way = of_server(connection, user, server)
    if under_way is not None and under_way.step not in FINAL_STEPS:
        raise Conflict(_("A reset of this server is under way. Wait until it is done."))
    operation_id = uuid.uuid4().hex
    connection.execute(
        insert(operation).values(
            id=operation_id,
            kind=kind.value,
            user_name=user,
            server_name=server,
            step=OperationStep.REQUESTED.value,
            requested_by=requested_by,
            requested_at=now,
            updated_at=now,
            start_after=start_after,
            user_options=dict(user_options),
            error="",
            generation=generation,
            reason=reason,
            group_reset=group_reset or None,
        )
    )
    made = one(connection, operation_id)
    _note(connection, made, now, requested_by, _ACTIONS[kind], "")
    return made


def advance(
    connection: Connection,
    operation_id: str,
    step: OperationStep,
    now: datetime,
    actor: str,
    error: str = "",
) -> Operation:
    """Go on to a later step; the same step again only renews its time.

    Raises Conflict for a step back or after a final one, NotFound.
    """
    found = one(connection, operation_id)
    if found.step in FINAL_STEPS and step is found.step:
        return found
    if found.step in FINAL_STEPS or _ORDER.index(step) < _ORDER.index(found.step):
        raise Conflict(
            f"The {found.kind.value} {operation_id} is {found.step.value}, "
            f"it cannot become {step.value}."
        )
    connection.execute(
        update(operation)
        .where(operation.c.id == operation_id)
        .values(step=step.value, updated_at=now, error=error)
    )
    reached = one(connection, operation_id)
    if step is not found.step:
        told = f"{step.value}: {error}" if error else step.value
        _note(connection, reached, now, actor, Action.ENVIRONMENT_STEP, told)
    return reached


def _note(
    connection: Connection, found: Operation, now: datetime, actor: str, action: Action, told: str
) -> None:
    group = connection.execute(
        select(group_operation.c.group_name).where(group_operation.c.id == found.group_reset)
    ).scalar()
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=action,
        detail=f"{found.kind.value} {found.id}" + (f" is {told}" if told else ""),
        user=found.user,
        server=found.server,
        group=group or "",
        reason=found.reason,
    )


def one(connection: Connection, operation_id: str) -> Operation:
    """An operation by its id. Raises NotFound."""
    row = connection.execute(select(operation).where(operation.c.id == operation_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no operation {operation_id}.")
    return _operation(row)


def of_server(connection: Connection, user: str, server: str) -> Operation | None:
    """The latest operation of a server, finished or not."""
    row = connection.execute(
        select(operation)
        .where(operation.c.user_name == user, operation.c.server_name == server)
        # an unfinished one is the latest even if a clock went back
        .order_by(_UNFINISHED.desc(), operation.c.requested_at.desc(), operation.c.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else _operation(row)


def unfinished(connection: Connection) -> tuple[Operation, ...]:
    """All that are not final, oldest first."""
    rows = connection.execute(
        select(operation).where(_UNFINISHED).order_by(operation.c.requested_at, operation.c.id)
    )
    return tuple(_operation(row) for row in rows)


def of_late(connection: Connection, since: datetime) -> dict[Key, Operation]:
    """By server, the latest of those that are under way or ended since."""
    # in the order of of_server; each has an index of its own
    ended = (
        select(operation)
        .where(operation.c.updated_at >= since)
        .order_by(operation.c.requested_at, operation.c.id.desc())
    )
    found = [
        _operation(row)
        for wanted in (ended, select(operation).where(UNFINISHED))
        for row in connection.execute(wanted)
    ]
    return {(each.user, each.server): each for each in found}


def of_group_reset(connection: Connection, group_reset: str) -> dict[str, Operation]:
    """The operations that are a part of it, by user."""
    rows = connection.execute(select(operation).where(operation.c.group_reset == group_reset))
    return {row.user_name: _operation(row) for row in rows}


def _operation(row: Row[Any]) -> Operation:
    return Operation(
        id=row.id,
        kind=OperationKind(row.kind),
        user=row.user_name,
        server=row.server_name,
        step=OperationStep(row.step),
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        updated_at=row.updated_at,
        start_after=row.start_after,
        user_options=dict(row.user_options),
        error=row.error,
        generation=row.generation,
        reason=row.reason,
        group_reset=row.group_reset or "",
    )
