"""What passes between a watch, the folder it looks at and the ledger."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from magellon.platform.sessions.watch_settings import SeenMovie


@dataclass(frozen=True)
class FileState:
    """A file at one moment."""

    size: int
    mtime: int
    inode: int = 0
    blocks: int = 0
    """Allocated: grow while a copy fills a file that has its final size from the start."""

    def holds_same(self, other: "FileState | SeenMovie") -> bool:
        return (self.size, self.mtime) == (other.size, other.mtime)


@dataclass(frozen=True)
class Inspection:
    """What a movie's header and metadata say. `state` is the file's, seen after it was opened."""

    state: FileState
    frames: int = 0
    promised: int | None = None
    """Frames that its metadata promises."""
    problem: str | None = None
    """Why it is no whole movie."""
    doubtful: bool = False
    """It may be unfinished though its header is complete."""
    final: bool = True
    """False: the filesystem failed, so that nothing is known."""


class Listing(Protocol):
    """The files of a folder at one moment."""

    @property
    def movies(self) -> Collection[str]:
        """Paths relative to the folder."""
        ...

    def find_metadata(self, movie: str) -> str | None: ...


class Folder(Protocol):
    """The folder as a watch sees it. All raise OSError when the filesystem fails."""

    def list_files(self) -> Listing: ...
    def stat(self, path: str) -> FileState: ...
    def inspect(self, movie: str, metadata: str | None) -> Inspection: ...


@dataclass(frozen=True)
class Taken:
    """A movie of the session, under the name it keeps."""

    name: str
    seen: SeenMovie
    gone: bool = False
    """No longer in the folder."""
    problem: str | None = None


@dataclass(frozen=True)
class Increment:
    """What one poll found. It counts when it is confirmed, and is found again when it is not."""

    ready: tuple[Taken, ...] = ()
    """Movies that are finished: new, written again, or with late metadata."""
    renamed: tuple[Taken, ...] = ()
    """Movies with their path as it is now; also those that came back."""
    vanished: tuple[Taken, ...] = ()
    waiting: int = 0
    """Movies that are not finished."""
    more: bool = False
    """More could be told at once."""

    def __bool__(self) -> bool:
        return bool(self.ready or self.renamed or self.vanished)


def is_same_file(seen: SeenMovie, path: str, state: FileState) -> bool:
    same_name = PurePosixPath(seen.path).name == PurePosixPath(path).name
    return same_name or (seen.inode != 0 and seen.inode == state.inode)


def choose_name(path: str, given: Collection[str]) -> str:
    """The file's name without suffix; where it is given already, the folder's name or the suffix comes with it."""
    file = PurePosixPath(path)
    folder = f"{file.parent.name}_" if file.parent.name else ""
    choices = [file.stem, f"{folder}{file.stem}", file.name.replace(".", "_"), f"{folder}{file.name}"]
    for name in choices:
        if name not in given:
            return name
    number = 2
    while f"{file.stem}-{number}" in given:
        number += 1
    return f"{file.stem}-{number}"


def rebuild_taken(rows: Iterable[tuple[str, Mapping[str, object] | None, str | None]]) -> list[Taken]:
    """Movies taken before from the ledger's (name, what was seen, problem)."""
    return [Taken(name, SeenMovie.model_validate(seen), problem=problem) for name, seen, problem in rows if seen]
