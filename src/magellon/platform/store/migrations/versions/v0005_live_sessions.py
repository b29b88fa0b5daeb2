"""Sessions whose folder is watched, and what the watch saw of each movie."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("live", sa.JSON))
    op.add_column("items", sa.Column("seen", sa.JSON))
