"""Tasks of a job in their order: pages of them, without sorting all."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_index("tasks_by_job", "tasks", ["job_id", "id"])
