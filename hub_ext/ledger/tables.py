"""The ledger's tables, as the newest migration leaves them.

What the database itself guarantees, whatever the code above it does:

- a slot of a device belongs to at most one lease (primary key of `slot`);
- a server has at most one lease that has not ended, one place in the queue and one operation under
  way (partial unique indexes);
- a time is stored in UTC and comes back aware.

A test compares these tables with the migrations, so a change here needs a new file in
migrations/versions.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored in UTC. A naive one is refused: nobody knows what it means."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"The time {value} has no time zone; pass datetime.now(UTC).")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# BIGINT where there is one; SQLite numbers rows by itself only for INTEGER.
Sequence64 = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One row per fact about the ledger itself: `hub_id`, and `lock`, the row that writers queue on
# where the database has no BEGIN IMMEDIATE.
fact = Table(
    "fact",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

# At most one row: the hub that works with this ledger.
claim = Table(
    "claim",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False),
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

device = Table(
    "device",
    metadata,
    Column("uuid", String(96), primary_key=True),
    Column("name", Text, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("driver_version", Text, nullable=False),
    Column("cuda_version", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("last_seen", UtcDateTime, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("user_name", Text, nullable=False),
    Column("server_name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("granted_at", UtcDateTime, nullable=False),
    Column("container_id", Text, nullable=False),
    Column("hold_until", UtcDateTime),
    Column("gone_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("end_reason", Text, nullable=False),
)
Index(
    "uq_lease_live_server",
    lease.c.user_name,
    lease.c.server_name,
    unique=True,
    sqlite_where=text("state <> 'ended'"),
    postgresql_where=text("state <> 'ended'"),
)
Index("ix_lease_state", lease.c.state)

# What a lease was granted, in order; stays when it has ended.
lease_device = Table(
    "lease_device",
    metadata,
    Column("lease_id", ForeignKey("lease.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("device_uuid", ForeignKey("device.uuid"), nullable=False),
    UniqueConstraint("lease_id", "device_uuid"),
)

# What is held now. The primary key is the promise of exclusive devices.
slot = Table(
    "slot",
    metadata,
    Column("device_uuid", ForeignKey("device.uuid"), primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("lease_id", ForeignKey("lease.id"), nullable=False, index=True),
    UniqueConstraint("device_uuid", "lease_id"),
)

queue_entry = Table(
    "queue_entry",
    metadata,
    Column("sequence", Sequence64, primary_key=True, autoincrement=True),
    Column("user_name", Text, nullable=False),
    Column("server_name", Text, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("enqueued_at", UtcDateTime, nullable=False),
    UniqueConstraint("user_name", "server_name"),
    sqlite_autoincrement=True,
)

environment = Table(
    "environment",
    metadata,
    Column("user_name", Text, primary_key=True),
    Column("server_name", Text, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("newest", Integer, nullable=False),
    Column("changes", Integer, nullable=False),
)

# Generations that are not in use but may still have a volume. `undo_place` orders those that an
# undo may go back to; `left_change` is the value of environment.changes when it was left.
left_generation = Table(
    "left_generation",
    metadata,
    Column("user_name", Text, primary_key=True),
    Column("server_name", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("left_change", Integer, nullable=False),
    Column("left_at", UtcDateTime, nullable=False),
    Column("undo_place", Integer),
)

operation = Table(
    "operation",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("user_name", Text, nullable=False),
    Column("server_name", Text, nullable=False),
    Column("step", String(16), nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("start_after", Boolean, nullable=False),
    Column("user_options", JSON, nullable=False),
    Column("error", Text, nullable=False),
)
Index(
    "uq_operation_unfinished_server",
    operation.c.user_name,
    operation.c.server_name,
    unique=True,
    sqlite_where=text("step NOT IN ('done', 'failed')"),
    postgresql_where=text("step NOT IN ('done', 'failed')"),
)

audit_entry = Table(
    "audit_entry",
    metadata,
    Column("id", Sequence64, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("lease_id", String(32), nullable=False, index=True),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)
