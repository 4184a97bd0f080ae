"""Into how many slots an admin has divided a device, whatever the configuration says."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("device", sa.Column("slots_set", sa.Integer()))
    op.add_column("device", sa.Column("slots_configured", sa.Integer()))


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
