"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "roots", sa.Column("name", sa.String(200), primary_key=True), sa.Column("description", sa.JSON, nullable=False)
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("folder", sa.Text, nullable=False, unique=True),
        sa.Column("definition", sa.JSON, nullable=False),
    )
    op.create_table(
        "items",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("session_id", sa.Integer, sa.ForeignKey("sessions.id"), nullable=False),
        sa.Column("name", sa.String(400), nullable=False),
        sa.Column("movie", sa.JSON, nullable=False),
        sa.Column("identity", sa.JSON, nullable=False),
        sa.Column("problem", sa.Text),
        sa.UniqueConstraint("session_id", "name"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("session_id", sa.Integer, sa.ForeignKey("sessions.id"), nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("item_id", sa.Integer, sa.ForeignKey("items.id")),
        sa.Column("step", sa.String(100), nullable=False),
        sa.Column("category", sa.String(100), nullable=False),
        sa.Column("backend", sa.String(100), nullable=False),
        sa.Column("identity", sa.String(64)),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("published", sa.Boolean, nullable=False),
        sa.Column("sequence", sa.Integer),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("lost", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Float, nullable=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("incarnation", sa.String(64)),
        sa.Column("kind", sa.String(12)),
        sa.Column("reason", sa.Text),
        sa.Column("traceback", sa.Text),
        sa.Column("started_at", sa.Float),
        sa.Column("finished_at", sa.Float),
        sqlite_autoincrement=True,
    )
    op.create_index("tasks_by_item", "tasks", ["job_id", "item_id"])
    op.create_index("tasks_by_state", "tasks", ["state", "published", "category", "backend"])
    op.create_index("tasks_by_job_state", "tasks", ["job_id", "state"])
    op.create_index("tasks_by_identity", "tasks", ["identity"])
    op.create_table(
        "results",
        sa.Column("identity", sa.String(64), primary_key=True),
        sa.Column("output", sa.JSON, nullable=False),
        sa.Column("provenance", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("job_id", sa.Integer, nullable=False),
        sa.Column("task_id", sa.Integer),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("text", sa.Text),
    )
