"""Deletes old history: ended leases, their audit lines, finished operations, old verdicts.

Guarantees: nothing that has not ended is touched, nor its audit lines; usage stays; what is needed
to count from Policy.event_start on stays as well.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, delete, not_, select

from ..models import FINAL_STEPS
from ..usage import DAY, day_start
from . import accounting, audit, ddp_runs, device_health, facts, hands, image_pulls, verdicts
from .tables import audit_entry, lease, lease_device, operation

AT_ONCE = 500  # leases per transaction: others wait for the write lock


def prune_leases(connection: Connection, before: datetime) -> int:
    """Delete some leases that ended before; how many."""
    old = [lease.c.ended_at < before]
    start = facts.policy(connection).event_start
    if start is not None:
        # usage has only whole days: these leases tell the part of that day that counts
        day = day_start(start)
        old.append(not_(and_(lease.c.ended_at > start, lease.c.granted_at < day + DAY)))
    ids = connection.execute(select(lease.c.id).where(*old).limit(AT_ONCE)).scalars().all()
    audit.delete_where(connection, audit_entry.c.lease_id.in_(ids))
    for table, column in ((lease_device, lease_device.c.lease_id), (lease, lease.c.id)):
        connection.execute(delete(table).where(column.in_(ids)))
    return len(ids)


def prune_rest(connection: Connection, before: datetime) -> None:
    """Delete what else is older: audit lines, operations, verdicts, hands, use that has faded."""
    accounting.forget_faded(connection, before, facts.policy(connection))
    verdicts.forget_old(connection, before)
    ddp_runs.forget_ended(connection)
    device_health.forget_old(connection, before)
    hands.forget_old(connection, before)
    image_pulls.forget_old(connection, before)
    audit.delete_where(connection, audit_entry.c.at < before, audit_entry.c.lease_id == "")
    connection.execute(
        delete(operation).where(
            operation.c.updated_at < before,
            operation.c.step.in_([step.value for step in FINAL_STEPS]),
        )
    )
