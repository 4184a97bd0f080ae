"""The first ledger: devices, leases, queue, environments, operations, audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# UtcDateTime's storage; a migration does not import what may change after it
Time = sa.DateTime(timezone=True)
Sequence64 = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVE = sa.text("state <> 'ended'")
UNFINISHED = sa.text("step NOT IN ('done', 'failed')")


def upgrade() -> None:
    fact = op.create_table(
        "fact",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_fact"),
    )
    op.bulk_insert(fact, [{"name": "lock", "value": ""}])
    op.create_table(
        "claim",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("claimed_at", Time, nullable=False),
        sa.Column("expires_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_claim"),
    )
    op.create_table(
        "device",
        sa.Column("uuid", sa.String(96), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("driver_version", sa.Text(), nullable=False),
        sa.Column("cuda_version", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("last_seen", Time, nullable=False),
        sa.PrimaryKeyConstraint("uuid", name="pk_device"),
    )
    op.create_table(
        "lease",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("granted_at", Time, nullable=False),
        sa.Column("container_id", sa.Text(), nullable=False),
        sa.Column("hold_until", Time),
        sa.Column("gone_at", Time),
        sa.Column("ended_at", Time),
        sa.Column("end_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lease"),
    )
    op.create_index(
        "uq_lease_live_server",
        "lease",
        ["user_name", "server_name"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_index("ix_lease_state", "lease", ["state"])
    op.create_table(
        "lease_device",
        sa.Column("lease_id", sa.String(32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("device_uuid", sa.String(96), nullable=False),
        sa.PrimaryKeyConstraint("lease_id", "position", name="pk_lease_device"),
        sa.ForeignKeyConstraint(["lease_id"], ["lease.id"], name="fk_lease_device_lease_id_lease"),
        sa.ForeignKeyConstraint(
            ["device_uuid"], ["device.uuid"], name="fk_lease_device_device_uuid_device"
        ),
        sa.UniqueConstraint("lease_id", "device_uuid", name="uq_lease_device_lease_id_device_uuid"),
    )
    op.create_table(
        "slot",
        sa.Column("device_uuid", sa.String(96), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("lease_id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("device_uuid", "slot", name="pk_slot"),
        sa.ForeignKeyConstraint(
            ["device_uuid"], ["device.uuid"], name="fk_slot_device_uuid_device"
        ),
        sa.ForeignKeyConstraint(["lease_id"], ["lease.id"], name="fk_slot_lease_id_lease"),
        sa.UniqueConstraint("device_uuid", "lease_id", name="uq_slot_device_uuid_lease_id"),
    )
    op.create_index("ix_slot_lease_id", "slot", ["lease_id"])
    op.create_table(
        "queue_entry",
        sa.Column("sequence", Sequence64, nullable=False, autoincrement=True),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("enqueued_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_queue_entry"),
        sa.UniqueConstraint(
            "user_name", "server_name", name="uq_queue_entry_user_name_server_name"
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "environment",
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("newest", sa.Integer(), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user_name", "server_name", name="pk_environment"),
    )
    op.create_table(
        "left_generation",
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("left_change", sa.Integer(), nullable=False),
        sa.Column("left_at", Time, nullable=False),
        sa.Column("undo_place", sa.Integer()),
        sa.PrimaryKeyConstraint(
            "user_name", "server_name", "generation", name="pk_left_generation"
        ),
    )
    op.create_table(
        "operation",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.Column("start_after", sa.Boolean(), nullable=False),
        sa.Column("user_options", sa.JSON(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_operation"),
    )
    op.create_index(
        "uq_operation_unfinished_server",
        "operation",
        ["user_name", "server_name"],
        unique=True,
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )
    op.create_table(
        "audit_entry",
        sa.Column("id", Sequence64, nullable=False, autoincrement=True),
        sa.Column("at", Time, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("lease_id", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entry"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_entry_lease_id", "audit_entry", ["lease_id"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
