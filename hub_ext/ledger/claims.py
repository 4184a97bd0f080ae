"""One hub per ledger: whoever holds the claim works with it, until it is released or expires."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from ..audit_actions import Action
from ..errors import LedgerInUse
from . import audit
from .tables import claim, fact


def hub_id(connection: Connection) -> str | None:
    """The id made at first use, or None before it."""
    return connection.execute(select(fact.c.value).where(fact.c.name == "hub_id")).scalar()


def make_hub_id(connection: Connection) -> str:
    """The id; made now if there is none."""
    made = hub_id(connection)
    if made is None:
        made = uuid.uuid4().hex
        connection.execute(insert(fact).values(name="hub_id", value=made))
    return made


def take(connection: Connection, owner: str, now: datetime, ttl: timedelta) -> None:
    """Claim or renew until `now + ttl`. Raises LedgerInUse if another owner's claim is alive."""
    values = {"owner": owner, "claimed_at": now, "expires_at": now + ttl}
    held = connection.execute(select(claim)).one_or_none()
    if held is None:
        connection.execute(insert(claim).values(id=1, **values))
        audit.write(connection, at=now, actor=owner, action=Action.CLAIM)
    elif held.owner == owner:
        connection.execute(update(claim).values(expires_at=now + ttl))
    elif held.expires_at > now:
        raise LedgerInUse(
            f"The hub {held.owner} works with this ledger (since {held.claimed_at:%Y-%m-%d %H:%M} "
            f"UTC, its claim lasts until {held.expires_at:%H:%M:%S} UTC). Stop it, or give this "
            "hub a ledger of its own with GPUCAMP_LEDGER_URL. After a crash, wait until then.",
            owner=held.owner,
        )
    else:
        connection.execute(update(claim).values(**values))
        audit.write(
            connection,
            at=now,
            actor=owner,
            action=Action.CLAIM,
            detail=f"taken over from {held.owner}, whose claim expired",
        )


def release(connection: Connection, owner: str) -> None:
    """Give the claim up; another owner's is left alone."""
    connection.execute(delete(claim).where(claim.c.owner == owner))
