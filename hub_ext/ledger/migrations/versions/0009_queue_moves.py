"""Places in the line that an admin has given."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

NOTHING, ZERO = sa.text("''"), sa.text("0")


def upgrade() -> None:
    op.add_column(
        "queue_entry", sa.Column("boost", sa.Integer(), nullable=False, server_default=ZERO)
    )
    op.add_column("queue_entry", sa.Column("moved_at", sa.DateTime(timezone=True)))
    for name in ("moved_by", "move_reason"):
        op.add_column(
            "queue_entry", sa.Column(name, sa.Text(), nullable=False, server_default=NOTHING)
        )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
