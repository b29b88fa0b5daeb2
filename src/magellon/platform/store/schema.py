"""Tables of the ledger. Migrations in `migrations/versions` make them; a test compares the two."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData()

roots = Table(
    "roots",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("description", JSON, nullable=False),
)

places = Table(  # where on the grid: atlas > square > hole > exposure
    "places",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session_id", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("parent_id", Integer, ForeignKey("places.id")),
    Column("kind", String(12), nullable=False),
    Column("name", String(400), nullable=False),
    Column("detail", JSON, nullable=False),  # stage position, magnification, image as a rooted path: `sessions.places.Place`
    UniqueConstraint("session_id", "kind", "name"),
    Index("places_by_parent", "session_id", "parent_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("folder", Text, nullable=False, unique=True),
    Column("definition", JSON, nullable=False),
    Column(
        "live", JSON(none_as_null=True)
    ),  # how its growing folder is watched: `sessions.watch_settings`; null: not, or no more
    Column(
        "problems", JSON
    ),  # what was wrong with its folder, metadata, gain and defects when they were read, as a list of texts
)

items = Table(
    "items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session_id", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("name", String(400), nullable=False),
    Column("kind", String(12), nullable=False, default="movie", server_default="movie"),  # of `contracts.SESSION_SOURCES`
    Column("movie", JSON, nullable=False),  # what the session holds of it, with rooted paths: a movie, or a picture of the grid
    Column("identity", JSON, nullable=False),
    Column("problem", Text),  # why the movie cannot be processed, known from its header
    Column("place_id", Integer),  # the exposure it was taken at; of a picture, what it shows
    Column("seen", JSON(none_as_null=True)),  # the file as a watch saw it: `sessions.watch_settings.SeenMovie`
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
    Column("recipe", JSON),  # as submitted: what a person changes
    Column("priority", Integer, nullable=False, default=0, server_default="0"),  # higher first; live sessions before batches
    Column("paused", Boolean, nullable=False, default=False, server_default=false()),
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
    Column("former", String(64)),  # identity of the result that a change made outdated; null once redone
    Index("tasks_by_item", "job_id", "item_id"),
    Index("tasks_by_job", "job_id", "id"),
    Index("tasks_by_state", "state", "published", "category", "backend"),
    Index("tasks_by_job_state", "job_id", "state", "step"),
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

metrics = Table(  # what micrographs are sorted and filtered by; only of results that are current
    "metrics",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id"), primary_key=True),
    Column("item_id", Integer, ForeignKey("items.id"), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("value", Float, nullable=False),
    Index("metrics_by_value", "job_id", "name", "value"),
)

artefacts = Table(  # results made elsewhere: maps, FSC curves, STAR files
    "artefacts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session_id", Integer, ForeignKey("sessions.id"), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("name", String(200), nullable=False),
    Column("path", Text, nullable=False),  # rooted
    Column("detail", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("created_by", String(200), nullable=False),
    UniqueConstraint("session_id", "name"),
)

plugins = Table(  # what people set of a backend; what it is comes from its description
    "plugins",
    metadata,
    Column("category", String(100), primary_key=True),
    Column("backend", String(100), primary_key=True),
    Column("enabled", Boolean, nullable=False, default=True),
    Column("preferred", Boolean, nullable=False, default=False),  # the category's default
)

users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("role", String(12), nullable=False),
    Column("password", Text),  # argon2 hash; null: cannot log in with one
    Column("subject", String(400), unique=True),  # issuer and subject of OpenID Connect
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", Float, nullable=False),
)

credentials = Table(  # API tokens and browser logins; of either only the hash is kept
    "credentials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float),
)

access = Table(  # who sees which session; operators and administrators of the site see all
    "access",
    metadata,
    Column("session_id", Integer, ForeignKey("sessions.id"), primary_key=True),
    Column("user_id", Integer, ForeignKey("users.id"), primary_key=True),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("user", String(200), nullable=False),
    Column("action", String(100), nullable=False),
    Column("target", Text, nullable=False),
    Column("detail", JSON, nullable=False),
)
