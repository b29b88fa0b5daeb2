"""How a growing folder is watched, and what is remembered of its movies. Seconds throughout."""

from typing import Annotated

from pydantic import Field, ValidationError

from magellon.contracts import Record
from magellon.errors import BadInput

Seconds = Annotated[float, Field(ge=0, le=1e6)]


class WatchSettings(Record):
    """Defaults are for a microscope that writes to a network filesystem."""

    settle: Seconds = 10.0
    """A movie is finished when it has not changed for so long, in two polls at least, and its header is complete."""
    patience: Seconds = 120.0
    """After so long without a change it is taken as it is: with few frames, without metadata; damaged, as a problem."""
    until_quiet: Seconds | None = None
    """End when nothing has happened for so long. Left out: when a person says so."""
    shortest_interval: Seconds = 2.0
    longest_interval: Seconds = 15.0
    """Between two polls; longer while nothing happens, and where the filesystem is slow."""
    recheck: Seconds = 60.0
    """Movies taken before are looked at once in so long: were they written again, has late metadata come?"""


def make_watch_settings(settle: float, until_quiet: float | None) -> WatchSettings:
    """Settings as a person gives them.

    Raises:
        BadInput: a time that cannot be.
    """
    try:
        settings = WatchSettings(settle=settle, until_quiet=until_quiet)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise BadInput(f"--{name} {first['input']}: {first['msg']}") from error
    return settings.model_copy(update={"patience": max(settings.patience, settings.settle)})


class SeenMovie(Record):
    """A movie's file as it was when it was taken: the ledger keeps it, and a watch that starts again goes on from it."""

    path: str
    """Relative to the session's folder."""
    size: int
    mtime: int
    """Nanoseconds; compared with other times of the same file only, never with a clock."""
    inode: int = 0
    """0: not known."""
    metadata: str | None = ""
    """Size and time of its metadata file; empty: it had none; None: not known."""
    frames: int = 0
    """0: not known."""
