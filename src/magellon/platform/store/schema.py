"""Tables of the ledger. Migrations in `migrations/versions` make them; a test compares the two."""

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()

roots = Table(
    "roots",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("description", JSON, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("folder", Text, nullable=False, unique=True),
    Column("definition", JSON, nullable=False),
)

items = Table(
    "items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session_id", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("name", String(400), nullable=False),
    Column("movie", JSON, nullable=False),  # rooted paths
    Column("identity", JSON, nullable=False),
    Column("problem", Text),  # why the movie cannot be processed, known from its header
    UniqueConstraint("session_id", "name"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session_id", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("plan", JSON, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id"), nullable=False),
    Column("item_id", Integer, ForeignKey("items.id")),  # null for a gather
    Column("step", String(100), nullable=False),
    Column("category", String(100), nullable=False),
    Column("backend", String(100), nullable=False),
    Column("identity", String(64)),
    Column("state", String(12), nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("published", Boolean, nullable=False, default=False),
    Column("sequence", Integer),  # in the task stream
    Column("failures", Integer, nullable=False, default=0),
    Column("lost", Integer, nullable=False, default=0),
    Column("not_before", Float, nullable=False, default=0.0),
    Column("worker", String(200)),
    Column("incarnation", String(64)),
    Column("kind", String(12)),
    Column("reason", Text),
    Column("traceback", Text),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("inputs", JSON),  # the sample of a survey
    Index("tasks_by_item", "job_id", "item_id"),
    Index("tasks_by_state", "state", "published", "category", "backend"),
    Index("tasks_by_job_state", "job_id", "state"),
    Index("tasks_by_identity", "identity"),
    sqlite_autoincrement=True,  # a number is never used twice, so that a late message cannot mean another task
)

results = Table(
    "results",
    metadata,
    Column("identity", String(64), primary_key=True),
    Column("output", JSON, nullable=False),  # paths relative to the result's folder
    Column("provenance", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("job_id", Integer, nullable=False),
    Column("task_id", Integer),
    Column("kind", String(12), nullable=False),
    Column("text", Text),
)
