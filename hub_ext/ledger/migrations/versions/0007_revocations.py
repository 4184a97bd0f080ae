"""Leases that are revoked, with a notice period."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Time = sa.DateTime(timezone=True)
NOTHING = sa.text("''")


def upgrade() -> None:
    op.add_column("lease", sa.Column("revoked_at", Time))
    op.add_column("lease", sa.Column("revoke_until", Time))
    op.add_column(
        "lease", sa.Column("revoked_by", sa.Text(), nullable=False, server_default=NOTHING)
    )
    op.add_column(
        "lease", sa.Column("revoke_reason", sa.Text(), nullable=False, server_default=NOTHING)
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
