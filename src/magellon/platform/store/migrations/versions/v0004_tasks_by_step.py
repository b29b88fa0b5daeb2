"""An index from which the tasks of a job are counted by state and step without reading them."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_index("tasks_by_job_state", "tasks")
    op.create_index("tasks_by_job_state", "tasks", ["job_id", "state", "step"])
