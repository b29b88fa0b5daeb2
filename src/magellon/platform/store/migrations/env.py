"""Run by Alembic with the connection the ledger gives it."""

from alembic import context

from magellon.platform.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
