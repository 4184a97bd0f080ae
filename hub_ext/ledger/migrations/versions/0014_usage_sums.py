"""Sums of the use of many users from an index alone."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.drop_index("ix_usage_group_name_user_name_day", "usage")
    op.create_index("ix_usage_sums", "usage", ["group_name", "user_name", "day", "seconds"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
