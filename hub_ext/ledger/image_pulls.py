"""Pulls of images: who asked for which, and how they ended.

Guarantees: one of an image is under way at a time, and at most AT_ONCE of all; how one has ended is
said once and stays.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from ..audit_actions import Action
from ..errors import Conflict, NotFound
from ..i18n import _
from ..images import ImagePull, PullState
from . import audit
from .tables import image_pull

AT_ONCE = 2  # they share one way to the registries, and one disk

_RUNNING = image_pull.c.state == PullState.RUNNING.value


def begin(connection: Connection, image: str, reason: str, now: datetime, actor: str) -> ImagePull:
    """Write down a pull, or give the one of this image under way. Raises Conflict."""
    row = connection.execute(
        select(image_pull).where(image_pull.c.image == image, _RUNNING)
    ).one_or_none()
    if row is not None:
        return _pull(row)
    if running(connection) >= AT_ONCE:
        raise Conflict(_("Two other images are being pulled. Wait for one of them, or cancel it."))
    made = uuid.uuid4().hex
    connection.execute(
        insert(image_pull).values(
            id=made,
            image=image,
            state=PullState.RUNNING.value,
            requested_by=actor,
            requested_at=now,
            reason=reason,
            error="",
        )
    )
    audit.write(
        connection, at=now, actor=actor, action=Action.IMAGE_PULL, detail=image, reason=reason
    )
    return _one(connection, made)


def running(connection: Connection) -> int:
    """How many are under way."""
    counted = connection.execute(select(func.count()).select_from(image_pull).where(_RUNNING))
    return counted.scalar_one()


def end(
    connection: Connection, pull_id: str, state: PullState, error: str, now: datetime, actor: str
) -> ImagePull:
    """It has ended so, unless it had before. Raises NotFound."""
    found = _one(connection, pull_id)
    if found.state is not PullState.RUNNING:
        return found
    connection.execute(
        update(image_pull)
        .where(image_pull.c.id == pull_id)
        .values(state=state.value, error=error, ended_at=now)
    )
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=Action.IMAGE_PULL_END,
        detail=f"{state.value} {found.image}",
    )
    return _one(connection, pull_id)


def cut_off(connection: Connection, now: datetime, actor: str) -> tuple[ImagePull, ...]:
    """All under way have ended with the service that did them."""
    found = connection.execute(select(image_pull.c.id).where(_RUNNING)).scalars().all()
    return tuple(end(connection, each, PullState.CUT_OFF, "", now, actor) for each in found)


def latest(connection: Connection, since: datetime) -> tuple[ImagePull, ...]:
    """The last of each image, of those under way or ended since."""
    rows = connection.execute(
        select(image_pull)
        .where(or_(_RUNNING, image_pull.c.ended_at >= since))
        .order_by(image_pull.c.image, image_pull.c.requested_at, image_pull.c.id)
    )
    return tuple({row.image: _pull(row) for row in rows}.values())


def of_image(connection: Connection, image: str) -> ImagePull | None:
    """The one under way, else the last one."""
    row = connection.execute(
        select(image_pull)
        .where(image_pull.c.image == image)
        .order_by(_RUNNING.desc(), image_pull.c.requested_at.desc(), image_pull.c.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else _pull(row)


def forget_old(connection: Connection, before: datetime) -> None:
    """Forget pulls that ended before."""
    connection.execute(delete(image_pull).where(image_pull.c.ended_at < before))


def _one(connection: Connection, pull_id: str) -> ImagePull:
    row = connection.execute(select(image_pull).where(image_pull.c.id == pull_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no pull {pull_id}.")
    return _pull(row)


def _pull(row: Row[Any]) -> ImagePull:
    return ImagePull(
        row.id,
        row.image,
        PullState(row.state),
        row.requested_by,
        row.requested_at,
        row.reason,
        row.ended_at,
        row.error,
    )
