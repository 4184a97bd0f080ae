"""DDP runs as servers told them; see ..ddp_runs.

Guarantees: what is read is about leases that have not ended; rows about others go with the next
word of their server, and with the history.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select

from ..ddp_runs import DdpRun, RunState, after, in_order
from ..models import Key
from .tables import LIVE, ddp_run, lease

_LIVE_LEASES = select(lease.c.id).where(LIVE)


def keep(connection: Connection, told: DdpRun) -> bool:
    """Keep what was told; whether it is anything new."""
    mine = _of(told.user, told.server)
    known = [_run(row) for row in connection.execute(select(ddp_run).where(mine))]
    found = after(known, told)
    if found is None:
        return False
    # a handful of rows at most
    connection.execute(delete(ddp_run).where(mine))
    connection.execute(insert(ddp_run), [_values(each) for each in found])
    return told in found


def read_current(connection: Connection) -> dict[Key, tuple[DdpRun, ...]]:
    """Those of leases that have not ended, by server, in order."""
    rows = connection.execute(select(ddp_run).where(ddp_run.c.lease_id.in_(_LIVE_LEASES)))
    found: dict[Key, list[DdpRun]] = {}
    for each in map(_run, rows):
        found.setdefault((each.user, each.server), []).append(each)
    return {key: in_order(runs) for key, runs in found.items()}


def forget_ended(connection: Connection) -> None:
    """Forget those of leases that have ended."""
    connection.execute(delete(ddp_run).where(ddp_run.c.lease_id.not_in(_LIVE_LEASES)))


def _of(user: str, server: str) -> ColumnElement[bool]:
    return (ddp_run.c.user_name == user) & (ddp_run.c.server_name == server)


def _values(run: DdpRun) -> dict[str, Any]:
    return {
        "user_name": run.user,
        "server_name": run.server,
        "run": run.run,
        "state": run.state.value,
        "ranks": run.ranks,
        "rank": run.rank,
        "hangs": run.hangs,
        "at": run.at,
        "lease_id": run.lease_id,
    }


def _run(row: Row[Any]) -> DdpRun:
    return DdpRun(
        user=row.user_name,
        server=row.server_name,
        run=row.run,
        state=RunState(row.state),
        ranks=row.ranks,
        at=row.at,
        rank=row.rank,
        hangs=row.hangs,
        lease_id=row.lease_id,
    )
