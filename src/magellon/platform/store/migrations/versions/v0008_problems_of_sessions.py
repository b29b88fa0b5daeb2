"""What was wrong with a session's folder, for those who did not stand beside when it was read."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("problems", sa.JSON))
