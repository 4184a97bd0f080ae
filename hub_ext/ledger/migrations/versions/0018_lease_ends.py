"""Which leases had not ended at some time in the past, from an index alone."""

from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_index("ix_lease_ended_at_granted_at_id", "lease", ["ended_at", "granted_at", "id"])
    # the new one begins with the same column
    op.drop_index("ix_lease_ended_at", "lease")


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
