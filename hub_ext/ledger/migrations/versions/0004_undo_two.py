"""An undo says where it goes back to, and whoever asks for a reset says why.

The last two generations left can be gone back to, whatever led there: no order of their own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("left_generation") as batch:
        batch.drop_column("undo_place")
    op.add_column("operation", sa.Column("generation", sa.Integer()))
    op.add_column(
        "operation", sa.Column("reason", sa.Text(), nullable=False, server_default=sa.text("''"))
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
