"""Policy: sharing, pools, cordons, terms, what a request asks for, usage and notices.

Works on a ledger in use: what was granted before keeps its devices, what waits keeps its place.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Time = sa.DateTime(timezone=True)
Sequence64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NO, ZERO, ONE = sa.false(), sa.text("0"), sa.text("1")
NOTHING, NO_LIST, NO_MAPPING = sa.text("''"), sa.text("'[]'"), sa.text("'{}'")


def upgrade() -> None:
    _devices()
    _leases()
    _queue()
    _usage()
    op.create_index("ix_audit_entry_at", "audit_entry", ["at"])


def _devices() -> None:
    op.add_column("device", sa.Column("shared", sa.Boolean(), nullable=False, server_default=NO))
    op.add_column("device", sa.Column("pool", sa.Text(), nullable=False, server_default=NOTHING))
    op.add_column(
        "device", sa.Column("parent", sa.String(96), nullable=False, server_default=NOTHING)
    )
    op.add_column("device", sa.Column("numa_node", sa.Integer()))
    op.add_column("device", sa.Column("links", sa.Text(), nullable=False, server_default=NO_LIST))
    op.add_column(
        "device", sa.Column("cordon", sa.String(16), nullable=False, server_default=NOTHING)
    )
    op.add_column(
        "device", sa.Column("cordon_reason", sa.Text(), nullable=False, server_default=NOTHING)
    )
    op.execute("UPDATE device SET shared = (slots > 1)")
    op.create_index("uq_device_uuid_shared", "device", ["uuid", "shared"], unique=True)

    op.add_column("slot", sa.Column("shared", sa.Boolean(), nullable=False, server_default=NO))
    op.execute(
        "UPDATE slot SET shared = "
        "(SELECT device.shared FROM device WHERE device.uuid = slot.device_uuid)"
    )
    # SQLite makes the table anew; nothing refers to it
    with op.batch_alter_table("slot") as batch:
        batch.drop_constraint("fk_slot_device_uuid_device", type_="foreignkey")
        batch.create_foreign_key(
            "fk_slot_device_uuid_shared_device",
            "device",
            ["device_uuid", "shared"],
            ["uuid", "shared"],
        )
        batch.create_check_constraint("ck_slot_exclusive_is_one", "shared OR slot = 0")


def _leases() -> None:
    op.add_column("lease", sa.Column("shared", sa.Boolean(), nullable=False, server_default=NO))
    op.add_column("lease", sa.Column("groups", sa.Text(), nullable=False, server_default=NO_LIST))
    op.add_column("lease", sa.Column("expires_at", Time))
    op.add_column("lease", sa.Column("drain_until", Time))
    op.add_column(
        "lease", sa.Column("extensions", sa.Integer(), nullable=False, server_default=ZERO)
    )
    op.add_column("lease", sa.Column("idle_since", Time))
    op.add_column("lease", sa.Column("reclaim_at", Time))
    op.execute(
        "UPDATE lease SET shared = true WHERE id IN (SELECT lease_id FROM slot WHERE shared)"
    )
    op.create_index("ix_lease_ended_at", "lease", ["ended_at"])
    op.create_index("ix_lease_user_name_ended_at", "lease", ["user_name", "ended_at"])

    op.add_column(
        "lease_device", sa.Column("slots", sa.Integer(), nullable=False, server_default=ONE)
    )
    op.add_column("lease_device", sa.Column("given_back_at", Time))
    op.execute(
        "UPDATE lease_device SET slots = "
        "(SELECT device.slots FROM device WHERE device.uuid = lease_device.device_uuid)"
    )


def _queue() -> None:
    op.add_column(
        "queue_entry", sa.Column("model", sa.Text(), nullable=False, server_default=NOTHING)
    )
    op.add_column(
        "queue_entry",
        sa.Column("min_memory_bytes", sa.BigInteger(), nullable=False, server_default=ZERO),
    )
    op.add_column(
        "queue_entry", sa.Column("share", sa.Boolean(), nullable=False, server_default=NO)
    )
    op.add_column(
        "queue_entry", sa.Column("groups", sa.Text(), nullable=False, server_default=NO_LIST)
    )
    op.add_column(
        "queue_entry", sa.Column("priority", sa.Integer(), nullable=False, server_default=ZERO)
    )
    op.add_column("queue_entry", sa.Column("term_seconds", sa.Double()))
    op.add_column(
        "queue_entry", sa.Column("waiter", sa.Text(), nullable=False, server_default=NOTHING)
    )
    op.add_column(
        "queue_entry",
        sa.Column("user_options", sa.Text(), nullable=False, server_default=NO_MAPPING),
    )


def _usage() -> None:
    op.create_table(
        "usage",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("device_uuid", sa.String(96), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("day", "user_name", "group_name", "device_uuid", name="pk_usage"),
    )
    op.create_index(
        "ix_usage_group_name_user_name_day", "usage", ["group_name", "user_name", "day"]
    )
    op.create_table(
        "fair_share",
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("device_seconds", sa.Double(), nullable=False),
        sa.Column("as_of", Time, nullable=False),
        sa.PrimaryKeyConstraint("user_name", name="pk_fair_share"),
    )
    op.create_table(
        "notice",
        sa.Column("id", Sequence64, nullable=False, autoincrement=True),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notice"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_notice_user_name_server_name", "notice", ["user_name", "server_name"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
