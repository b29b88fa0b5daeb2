"""Items that are no movies: pictures of the grid."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("items", sa.Column("kind", sa.String(12), nullable=False, server_default="movie"))
