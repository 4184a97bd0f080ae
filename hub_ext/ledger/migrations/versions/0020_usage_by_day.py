"""Sums of use by day, by group and by device from an index."""

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.create_index(
        "ix_usage_days", "usage", ["group_name", "day", "device_uuid", "seconds"], unique=False
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
