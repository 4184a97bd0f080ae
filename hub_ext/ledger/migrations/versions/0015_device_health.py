"""When which device was healthy, quarantined or missing."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "device_health",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("device_uuid", sa.String(96), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_uuid"], ["device.uuid"], name="fk_device_health_device_uuid_device"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_device_health"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_device_health_device_uuid_id", "device_health", ["device_uuid", "id"])
    op.create_index("ix_device_health_at", "device_health", ["at"])


def downgrade() -> None:
    raise NotImplementedError("Restore the backup that was made before the update.")
