"""Audit lines say whom and what they are about, and why."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    for name in ("user_name", "server_name", "device_uuid", "group_name", "reason"):
        op.add_column(
            "audit_entry", sa.Column(name, sa.Text(), nullable=False, server_default=sa.text("''"))
        )
    op.create_index("ix_audit_entry_user_name_id", "audit_entry", ["user_name", "id"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
