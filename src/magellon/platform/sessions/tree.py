"""The files of a session's folder, listed once, and what was read of them, remembered while they stay as they are."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from magellon.errors import BadInput, MagellonError
from magellon.io.files import is_text

T = TypeVar("T")
_SUFFIXES = re.compile(r"(\.(tiff?|mrcs?|eer|ecc|st|map|gz|bz2|xml|jpg|png|mdoc))+$", re.IGNORECASE)
_MOVIE_END = re.compile(r"[._-](fractions|frames|eer|movie|raw)$", re.IGNORECASE)
_HOLE = re.compile(r"FoilHole_\d+_")
_SESSION_SUFFIXES = {".dm", ".nav", ".json"}
_MAX_FILES = 5_000_000
_MAX_DEPTH = 24


class HeaderCache:
    """What readers found in files, until a file's size or time changes. Keep one between looks at a growing folder."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Callable[..., object]], tuple[tuple[int, int], object]] = {}
        self.sessions: dict[Path, object] = {}
        """What is needed of a session's other movies to describe a new one."""

    def read(self, path: Path, reader: Callable[[Path], T]) -> T:
        """What `reader` says of the file; files that it refuses are remembered too.

        Raises:
            MagellonError: the reader's.
        """
        try:
            stat = os.stat(path)
        except OSError as error:
            raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
        state, key = (stat.st_size, stat.st_mtime_ns), (str(path), reader)
        known = self._known.get(key)
        if known is None or known[0] != state:
            try:
                value: object = reader(path)
            except BadInput as error:
                value = error
            known = self._known[key] = (state, value)
        if isinstance(known[1], MagellonError):
            raise known[1]
        return known[1]  # type: ignore[return-value]


@dataclass(frozen=True)
class Tree:
    """All files below a folder but hidden ones, sorted by path."""

    folder: Path
    files: tuple[Path, ...]
    problems: tuple[str, ...]
    """Folders that could not be listed, links that lead out of the folder."""
    _by_name: dict[str, list[Path]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for path in self.files:
            self._by_name.setdefault(path.name.lower(), []).append(path)

    def find(self, name: str) -> Path | None:
        """The file of that name, without regard to case; the one nearest to the top."""
        return next(iter(self.find_all(name)), None)

    def find_all(self, name: str) -> list[Path]:
        """All files of that name, those nearest to the top first."""
        return sorted(self._by_name.get(name.lower(), ()), key=lambda path: (len(path.parts), path))

    def find_image(self, stem: str | None) -> Path | None:
        """The picture of that name, in the form that a browser shows if there is one."""
        if stem is None:
            return None
        return next((path for suffix in (".jpg", ".png", ".mrc", ".tiff", ".tif") if (path := self.find(stem + suffix))), None)


def list_tree(folder: Path) -> Tree:
    """List a folder. Linked folders are entered only where they lie in it too; hidden ones, and loops, never.

    Raises:
        BadInput: not a folder, or one with millions of files.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder")
    problems: list[str] = []
    files = []
    for path in _walk(folder, folder.resolve(), problems, 0):
        files.append(path)
        if len(files) > _MAX_FILES:
            raise BadInput(f"{folder}: more than {_MAX_FILES} files: this is not the folder of one session")
    return Tree(folder, tuple(sorted(files)), tuple(problems))


def restrict_tree(tree: Tree, movies: Collection[Path]) -> Tree:
    """The same with only those files that may say something about some movies, or about the session as a whole."""
    stems = {strip_name(path.name) for path in movies}
    holes = {match.group() for path in movies if (match := _HOLE.match(path.name))}

    def matters(path: Path) -> bool:
        if path in movies or path.suffix.lower() in _SESSION_SUFFIXES or strip_name(path.name) in stems:
            return True
        hole = _HOLE.match(path.name)
        return bool((hole and hole.group() in holes and "_Data_" not in path.name) or path.name.startswith("GridSquare_"))

    return Tree(tree.folder, tuple(path for path in tree.files if matters(path)), tree.problems)


def strip_name(name: str) -> str:
    """What the files of one exposure have in common."""
    return _MOVIE_END.sub("", _SUFFIXES.sub("", name)).lower()


def _walk(folder: Path, top: Path, problems: list[str], depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        problems.append(f"{folder}: cannot be listed: {error.strerror}")
        return
    for entry in listed:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        if not is_text(path):
            problems.append(f"{str(path)!a}: its name is not UTF-8, and it is left out; rename it")
            continue
        try:
            is_folder = entry.is_dir()
        except OSError:
            continue
        if not is_folder:
            yield path
        elif entry.is_symlink() and not _stays(path, top):
            problems.append(f"{path}: leads out of the session's folder, and is left out")
        elif entry.is_symlink() or depth >= _MAX_DEPTH:
            continue  # it is listed where it lies
        else:
            yield from _walk(path, top, problems, depth + 1)


def _stays(path: Path, top: Path) -> bool:
    try:
        return path.resolve().is_relative_to(top)
    except (OSError, RuntimeError):
        return False
