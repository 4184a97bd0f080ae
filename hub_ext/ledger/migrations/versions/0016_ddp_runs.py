"""What servers tell of their DDP runs."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "ddp_run",
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("server_name", sa.Text(), nullable=False),
        sa.Column("run", sa.String(22), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("ranks", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("hangs", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("user_name", "server_name", "run", name="pk_ddp_run"),
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
