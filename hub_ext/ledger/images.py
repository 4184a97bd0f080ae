"""Which image new servers get in the place of the configured one.

Guarantees: the last word about a configured image counts; who said it and why stays, as rows of
their own. When the configuration names another image, what was said of the earlier one rests.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from ..audit_actions import Action
from ..images import ImagePin
from . import audit
from .tables import image_pin


def pinned(connection: Connection, configured: str) -> ImagePin | None:
    """The pin for a configured image, if there is one."""
    row = connection.execute(
        select(image_pin)
        .where(image_pin.c.configured == configured)
        .order_by(image_pin.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None or row.image in ("", configured):
        return None
    return ImagePin(row.configured, row.image, row.pinned_at, row.pinned_by, row.reason)


def pin(
    connection: Connection, configured: str, image: str, reason: str, now: datetime, actor: str
) -> None:
    """Give new servers `image`; the configured one takes the pin away. Twice is once."""
    before = pinned(connection, configured)
    if image == (before.image if before is not None else configured):
        return
    connection.execute(
        insert(image_pin).values(
            configured=configured, image=image, pinned_at=now, pinned_by=actor, reason=reason
        )
    )
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=Action.IMAGE_UNPIN if image == configured else Action.IMAGE_PIN,
        detail=image,
        reason=reason,
    )
