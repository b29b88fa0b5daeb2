"""Export: a session, or a part of it, as another program's project. Run when a person asks for it, never by a recipe."""

from pathlib import Path

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record


class SessionExportInput(Record):
    session: Path
    """The session's folder, `HOME/sessions/NAME`: all that is needed."""


class SessionExportOutput(Record):
    project: Path
    """A folder with everything that is written new. Names in its files are relative to it."""
    links: Path
    """JSON: name in the project > name in the session's folder, of the files to be linked to. Nothing large is copied."""
    micrographs: int
    micrographs_left_out: int
    """Held ones, and those that the conditions exclude."""
    particles: int
    particles_left_out: int


SESSION_EXPORT = Contract("session_export", SessionExportInput, SessionExportOutput, gather=True, on_demand=True)
