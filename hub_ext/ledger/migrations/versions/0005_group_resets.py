"""Resets of whole groups."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("operation", sa.Column("group_reset", sa.String(32)))
    op.create_index(
        "uq_operation_group_reset_user", "operation", ["group_reset", "user_name"], unique=True
    )
    op.create_table(
        "group_reset",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_group_reset"),
    )
    op.create_index(
        "uq_group_reset_running",
        "group_reset",
        ["group_name"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "group_reset_member",
        sa.Column("group_reset", sa.String(32), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("refusal", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_reset"],
            ["group_reset.id"],
            name="fk_group_reset_member_group_reset_group_reset",
        ),
        sa.PrimaryKeyConstraint("group_reset", "user_name", name="pk_group_reset_member"),
    )


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
