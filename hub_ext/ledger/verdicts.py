"""The last verdict about each server.

Guarantees: of two verdicts about a server the one of the later examination stays, in whatever order
and how often they come; there is one row for a server, however often it is examined.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from ..models import Key
from ..verdicts import Verdict
from .tables import LIVE, lease, verdict


def keep(connection: Connection, found: Verdict) -> bool:
    """Keep it unless a later one is known; whether anything changed."""
    known = read(connection, found.user, found.server)
    if known is not None and (known.at > found.at or known == found):
        return False
    values = {
        "at": found.at,
        "findings": json.dumps(found.findings),
        "kernel": found.kernel,
        "seconds": found.seconds,
        "passed": found.passed,
        "unexamined": found.unexamined,
        "version": found.version,
        "lease_id": found.lease_id,
    }
    if known is None:
        values |= {"user_name": found.user, "server_name": found.server}
        connection.execute(insert(verdict).values(values))
    else:
        connection.execute(update(verdict).where(_is(found.user, found.server)).values(values))
    return True


def read(connection: Connection, user: str, server: str) -> Verdict | None:
    """A server's, or None."""
    row = connection.execute(select(verdict).where(_is(user, server))).one_or_none()
    return _verdict(row) if row is not None else None


def read_all(connection: Connection) -> dict[Key, Verdict]:
    """By server."""
    found = [_verdict(row) for row in connection.execute(select(verdict))]
    return {(each.user, each.server): each for each in found}


def read_current(connection: Connection) -> tuple[Verdict, ...]:
    """Those about leases that have not ended."""
    live = select(lease.c.id).where(LIVE)
    rows = connection.execute(select(verdict).where(verdict.c.lease_id.in_(live)))
    return tuple(_verdict(row) for row in rows)


def forget(connection: Connection, servers: Iterable[Key]) -> None:
    """These servers, or what was found about them, are no more."""
    for user, server in servers:
        connection.execute(delete(verdict).where(_is(user, server)))


def forget_old(connection: Connection, before: datetime) -> None:
    """Those of earlier examinations say nothing any more."""
    connection.execute(delete(verdict).where(verdict.c.at < before))


def _is(user: str, server: str) -> ColumnElement[bool]:
    return (verdict.c.user_name == user) & (verdict.c.server_name == server)


def _verdict(row: Row[Any]) -> Verdict:
    return Verdict(
        user=row.user_name,
        server=row.server_name,
        at=row.at,
        findings=tuple((code, severity) for code, severity in json.loads(row.findings)),
        kernel=row.kernel,
        seconds=row.seconds,
        passed=row.passed,
        unexamined=row.unexamined,
        version=row.version,
        lease_id=row.lease_id,
    )
