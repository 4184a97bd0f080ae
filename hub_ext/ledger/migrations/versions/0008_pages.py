"""Pages of leases and of the audit trail come from indexes."""

from alembic import op

revision = "0008"
down_revision = "0007"

INDEXES = (
    ("lease", "granted_at", "id", "groups"),
    ("lease", "state", "granted_at", "id", "groups"),
    ("lease", "user_name", "granted_at", "id"),
    ("lease_device", "device_uuid", "lease_id"),
    ("audit_entry", "actor", "id"),
    ("audit_entry", "action", "id"),
)


def upgrade() -> None:
    for table, *columns in INDEXES:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)
    op.drop_index("ix_lease_state", "lease")  # the second has what it had


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
