"""Starts and stops of whole groups beside their resets."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_COPY = """
INSERT INTO group_operation
(id, action, group_name, state, requested_by, requested_at, reason)
SELECT id, 'reset', group_name, state, requested_by, requested_at, reason FROM group_reset
"""
_COPY_MEMBERS = """
INSERT INTO group_operation_member (group_operation, user_name, state, note, told)
SELECT group_reset, user_name,
       CASE WHEN refusal = '' THEN 'pending' ELSE 'failed' END, refusal, false
FROM group_reset_member
"""


def upgrade() -> None:
    op.create_table(
        "group_operation",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("due", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_group_operation"),
    )
    op.create_index(
        "uq_group_operation_running",
        "group_operation",
        ["group_name"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "group_operation_member",
        sa.Column("group_operation", sa.String(32), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("told", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_operation"],
            ["group_operation.id"],
            name="fk_group_operation_member_group_operation_group_operation",
        ),
        sa.PrimaryKeyConstraint("group_operation", "user_name", name="pk_group_operation_member"),
    )
    op.execute(_COPY)
    op.execute(_COPY_MEMBERS)
    op.drop_table("group_reset_member")
    op.drop_table("group_reset")


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
