"""Which resets ended lately is found without reading all of them."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.create_index("ix_operation_updated_at", "operation", ["updated_at"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
