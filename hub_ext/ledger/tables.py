"""The ledger's tables, as the newest migration leaves them.

What the database itself guarantees, whatever the code above it does:

- a slot of a device belongs to at most one lease (primary key of `slot`);
- a device is exclusive or shared, and so are all its slots: `slot.shared` is part of the foreign
  key to the device, and an exclusive device has no slot but 0;
- a server has at most one lease that has not ended, one place in the queue and one operation under
  way, and a group at most one reset under way (partial unique indexes);
- a reset of a group has at most one operation of each user;
- a time is stored in UTC and comes back aware.

A test compares these tables with the migrations, so a change here needs a new file in
migrations/versions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator

from ..models import LeaseState


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

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime | None] | None:
        if dialect.name != "sqlite":
            return super().result_processor(dialect, coltype)

        # SQLite has texts, and a thousand leases ten thousand of them
        def process(value: str | None) -> datetime | None:
            return None if value is None else datetime.fromisoformat(value).replace(tzinfo=UTC)

        return process


# BIGINT where there is one; SQLite numbers rows by itself only for INTEGER.
Sequence64 = BigInteger().with_variant(Integer, "sqlite")

# what a row of an earlier version gets
_NO, _ZERO, _ONE = false(), text("0"), text("1")
_NOTHING, _NO_LIST, _NO_MAPPING = text("''"), text("'[]'"), text("'{}'")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# One row per fact about the ledger itself: `hub_id`, `policy`, `hub_run`, memos of the service, and
# `lock`, the row that writers queue on where the database has no BEGIN IMMEDIATE.
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
    Column("shared", Boolean, nullable=False, server_default=_NO),
    Column("pool", Text, nullable=False, server_default=_NOTHING),
    Column("parent", String(96), nullable=False, server_default=_NOTHING),
    Column("numa_node", Integer),
    Column("links", Text, nullable=False, server_default=_NO_LIST),  # JSON: [[UUID, score], ...]
    Column("cordon", String(16), nullable=False, server_default=_NOTHING),
    Column("cordon_reason", Text, nullable=False, server_default=_NOTHING),
    # what an admin said of the slots, and what the configuration said then; see slots.py
    Column("slots_set", Integer),
    Column("slots_configured", Integer),
)
Index("uq_device_uuid_shared", device.c.uuid, device.c.shared, unique=True)

# Changes of a device's state.
device_health = Table(
    "device_health",
    metadata,
    Column("id", Sequence64, primary_key=True, autoincrement=True),
    Column("device_uuid", ForeignKey("device.uuid"), nullable=False),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_device_health_device_uuid_id", device_health.c.device_uuid, device_health.c.id)

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
    Column("shared", Boolean, nullable=False, server_default=_NO),
    Column("groups", Text, nullable=False, server_default=_NO_LIST),  # JSON
    Column("expires_at", UtcDateTime),
    # set while one of its devices is drained: the lease ends then at the latest
    Column("drain_until", UtcDateTime),
    Column("extensions", Integer, nullable=False, server_default=_ZERO),
    Column("idle_since", UtcDateTime),
    Column("reclaim_at", UtcDateTime),
    # set while it is revoked: it ends at `revoke_until` at the latest, as its user was told then
    Column("revoked_at", UtcDateTime),
    Column("revoke_until", UtcDateTime),
    Column("revoked_by", Text, nullable=False, server_default=_NOTHING),
    Column("revoke_reason", Text, nullable=False, server_default=_NOTHING),
)
Index(
    "uq_lease_live_server",
    lease.c.user_name,
    lease.c.server_name,
    unique=True,
    sqlite_where=text("state <> 'ended'"),
    postgresql_where=text("state <> 'ended'"),
)
# Those that have not ended, so written that an index finds them among years of history: for "<>"
# none is used.
LIVE = lease.c.state.in_([state.value for state in LeaseState if state is not LeaseState.ENDED])
# for pages of leases; with `groups`, so that a group is sought in the index alone
Index("ix_lease_granted_at_id_groups", lease.c.granted_at, lease.c.id, lease.c.groups)
Index(
    "ix_lease_state_granted_at_id_groups",
    lease.c.state,
    lease.c.granted_at,
    lease.c.id,
    lease.c.groups,
)
Index("ix_lease_user_name_granted_at_id", lease.c.user_name, lease.c.granted_at, lease.c.id)
Index("ix_lease_ended_at_granted_at_id", lease.c.ended_at, lease.c.granted_at, lease.c.id)
Index("ix_lease_user_name_ended_at", lease.c.user_name, lease.c.ended_at)

# What a lease was granted, in order; stays when it has ended. `slots` are those of the device at
# the grant: the lease counts as 1/slots of it. A device given back before the end has its time.
lease_device = Table(
    "lease_device",
    metadata,
    Column("lease_id", ForeignKey("lease.id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("device_uuid", ForeignKey("device.uuid"), nullable=False),
    Column("slots", Integer, nullable=False, server_default=_ONE),
    Column("given_back_at", UtcDateTime),
    UniqueConstraint("lease_id", "device_uuid"),
)
Index("ix_lease_device_device_uuid_lease_id", lease_device.c.device_uuid, lease_device.c.lease_id)

# What is held now. The primary key is the promise of exclusive devices.
slot = Table(
    "slot",
    metadata,
    Column("device_uuid", String(96), primary_key=True),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("lease_id", ForeignKey("lease.id"), nullable=False, index=True),
    Column("shared", Boolean, nullable=False, server_default=_NO),
    UniqueConstraint("device_uuid", "lease_id"),
    ForeignKeyConstraint(["device_uuid", "shared"], ["device.uuid", "device.shared"]),
    CheckConstraint("shared OR slot = 0", name="exclusive_is_one"),
)

queue_entry = Table(
    "queue_entry",
    metadata,
    Column("sequence", Sequence64, primary_key=True, autoincrement=True),
    Column("user_name", Text, nullable=False),
    Column("server_name", Text, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("enqueued_at", UtcDateTime, nullable=False),
    Column("model", Text, nullable=False, server_default=_NOTHING),
    Column("min_memory_bytes", BigInteger, nullable=False, server_default=_ZERO),
    Column("share", Boolean, nullable=False, server_default=_NO),
    Column("groups", Text, nullable=False, server_default=_NO_LIST),  # JSON
    Column("priority", Integer, nullable=False, server_default=_ZERO),
    Column("term_seconds", Double),
    Column("waiter", Text, nullable=False, server_default=_NOTHING),
    Column("user_options", Text, nullable=False, server_default=_NO_MAPPING),  # JSON
    # an admin's order, see queue_moves.py; with `moved_at` this one was moved
    Column("boost", Integer, nullable=False, server_default=_ZERO),
    Column("moved_at", UtcDateTime),
    Column("moved_by", Text, nullable=False, server_default=_NOTHING),
    Column("move_reason", Text, nullable=False, server_default=_NOTHING),
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

# Generations that are not in use but may still have a volume. `left_change` is the value of
# environment.changes when it was left: it orders them, whatever the clocks say. Negative: it was
# given up, and waits for its volume to be deleted.
left_generation = Table(
    "left_generation",
    metadata,
    Column("user_name", Text, primary_key=True),
    Column("server_name", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("left_change", Integer, nullable=False),
    Column("left_at", UtcDateTime, nullable=False),
)

# Starts in a row that ended before the server answered, in the same generation.
failed_starts = Table(
    "failed_starts",
    metadata,
    Column("user_name", Text, primary_key=True),
    Column("server_name", Text, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("count", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
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
    Column("generation", Integer),  # of an undo: where it goes back to
    Column("reason", Text, nullable=False, server_default=_NOTHING),
    Column("group_reset", String(32)),  # what it is a part of
)
Index("ix_operation_updated_at", operation.c.updated_at)
UNFINISHED = text("step NOT IN ('done', 'failed')")
# nobody is reset twice by one reset of a group; what is no part of one has NULL
Index("uq_operation_group_reset_user", operation.c.group_reset, operation.c.user_name, unique=True)
Index(
    "uq_operation_unfinished_server",
    operation.c.user_name,
    operation.c.server_name,
    unique=True,
    sqlite_where=UNFINISHED,
    postgresql_where=UNFINISHED,
)

# What is done about whole groups. Who was in the group then is in group_operation_member.
group_operation = Table(
    "group_operation",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("action", String(16), nullable=False),
    Column("group_name", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("due", UtcDateTime),  # nobody is begun before
)
Index(
    "uq_group_operation_running",
    group_operation.c.group_name,
    unique=True,
    sqlite_where=text("state = 'running'"),
    postgresql_where=text("state = 'running'"),
)

group_operation_member = Table(
    "group_operation_member",
    metadata,
    Column("group_operation", ForeignKey("group_operation.id"), primary_key=True),
    Column("user_name", Text, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("note", Text, nullable=False),
    Column("told", Boolean, nullable=False),  # that it comes
)

# Device-seconds per UTC day, written when a lease ends. `group_name` "" is all use of the user;
# with a name, what counts for that group of theirs as well.
usage = Table(
    "usage",
    metadata,
    Column("day", Date, primary_key=True),
    Column("user_name", Text, primary_key=True),
    Column("group_name", Text, primary_key=True),
    Column("device_uuid", String(96), primary_key=True),
    Column("seconds", Double, nullable=False),
)
# with the seconds, so that sums of many users are read from the index alone
Index("ix_usage_sums", usage.c.group_name, usage.c.user_name, usage.c.day, usage.c.seconds)
# the same for sums by day, by group and by device
Index("ix_usage_days", usage.c.group_name, usage.c.day, usage.c.device_uuid, usage.c.seconds)

# Faded device-seconds of the leases that ended, as they were at `as_of`.
fair_share = Table(
    "fair_share",
    metadata,
    Column("user_name", Text, primary_key=True),
    Column("device_seconds", Double, nullable=False),
    Column("as_of", UtcDateTime, nullable=False),
)

notice = Table(
    "notice",
    metadata,
    Column("id", Sequence64, primary_key=True, autoincrement=True),
    Column("user_name", Text, nullable=False),
    Column("server_name", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("detail", Text, nullable=False),  # JSON
    sqlite_autoincrement=True,
)
Index("ix_notice_user_name_server_name", notice.c.user_name, notice.c.server_name)

# Who asks for help; a row goes when the hand is lowered.
hand = Table(
    "hand",
    metadata,
    Column("user_name", Text, primary_key=True),
    Column("server_name", Text, nullable=False),
    Column("raised_at", UtcDateTime, nullable=False),
    Column("text", Text, nullable=False),
    Column("groups", Text, nullable=False),  # JSON
)

# What new servers get in the place of `configured`, which is what the spawner is set to: the last
# row about it counts, and the configured one itself takes a pin away.
image_pin = Table(
    "image_pin",
    metadata,
    Column("id", Sequence64, primary_key=True, autoincrement=True),
    Column("configured", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("pinned_at", UtcDateTime, nullable=False),
    Column("pinned_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_image_pin_configured_id", image_pin.c.configured, image_pin.c.id)

# Pulls of images that were asked for; only one of an image is under way.
image_pull = Table(
    "image_pull",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("image", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("error", Text, nullable=False),
)
Index(
    "uq_image_pull_running",
    image_pull.c.image,
    unique=True,
    sqlite_where=text("state = 'running'"),
    postgresql_where=text("state = 'running'"),
)

# The last verdict of GPU doctor about each server, as the server told it.
verdict = Table(
    "verdict",
    metadata,
    Column("user_name", Text, primary_key=True),
    Column("server_name", Text, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("findings", Text, nullable=False),  # JSON: [[code, severity], ...]
    Column("kernel", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("passed", Integer, nullable=False),
    Column("unexamined", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("lease_id", String(32), nullable=False),
)

# DDP runs as servers tell them: those of a server that go on, and the one that ended last.
ddp_run = Table(
    "ddp_run",
    metadata,
    Column("user_name", Text, primary_key=True),
    Column("server_name", Text, primary_key=True),
    Column("run", String(22), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("ranks", Integer, nullable=False),
    Column("rank", Integer),  # that failed, or that the others wait for
    Column("hangs", Boolean, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("lease_id", String(32), nullable=False),
)

audit_entry = Table(
    "audit_entry",
    metadata,
    Column("id", Sequence64, primary_key=True, autoincrement=True),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("lease_id", String(32), nullable=False, index=True),
    Column("detail", Text, nullable=False),
    # whom and what it is about, as far as it is about one; "" in lines of earlier versions
    Column("user_name", Text, nullable=False, server_default=_NOTHING),
    Column("server_name", Text, nullable=False, server_default=_NOTHING),
    Column("device_uuid", Text, nullable=False, server_default=_NOTHING),
    Column("group_name", Text, nullable=False, server_default=_NOTHING),
    Column("reason", Text, nullable=False, server_default=_NOTHING),
    sqlite_autoincrement=True,
)
# for pages of the trail
Index("ix_audit_entry_actor_id", audit_entry.c.actor, audit_entry.c.id)
Index("ix_audit_entry_action_id", audit_entry.c.action, audit_entry.c.id)
Index("ix_audit_entry_user_name_id", audit_entry.c.user_name, audit_entry.c.id)

# Requests with an Idempotency-Key of the last day. No status: it is under way, or was cut off.
kept_answer = Table(
    "kept_answer",
    metadata,
    Column("caller", Text, primary_key=True),  # "user:ada"
    Column("key", String(255), primary_key=True),
    Column("request", String(64), nullable=False),  # a digest of it
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("status", Integer),
    Column("body", Text, nullable=False),
)
