"""A session's folder as a watch looks at it: listed with `scandir`, a `stat` only where one is asked for, no numpy."""

import fnmatch
import os
import struct
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from magellon.errors import BadInput, Transient
from magellon.io.files import find_suffix, is_compressed, is_text
from magellon.io.movie_header import MOVIE_SUFFIXES, read_movie_header
from magellon.io.mrc_header import read_mrc_header
from magellon.platform.sessions.watch_metadata import find_metadata, read_promised_frames
from magellon.platform.sessions.watch_records import FileState, Inspection

_SUFFIXES = tuple(suffix + packed for suffix in MOVIE_SUFFIXES for packed in ("", ".gz", ".bz2"))
_TAIL = 4096
_BZ2_END = 0x177245385090
"""The 48 bits before the check sum that ends a bzip2 stream; they start at any bit."""


@dataclass
class FolderListing:
    """The names in each folder of a session that may hold movies."""

    movies: list[str] = field(default_factory=list)
    names: dict[str, Set[str]] = field(default_factory=dict)
    """By folder."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Path of each file in the folder that has the metadata of all, by name."""

    def find_metadata(self, movie: str) -> str | None:
        place, _, name = movie.rpartition("/")
        found = find_metadata(name, self.names.get(place, frozenset()))
        if found:
            return _join(place, found)
        return self.elsewhere.get(find_metadata(name, self.elsewhere) or "")


@dataclass(frozen=True)
class SessionFolder:
    """The movies of a folder that match a pattern such as `movies/*.tiff` or `**/*_EER.eer`."""

    folder: Path
    pattern: str
    aside: frozenset[str] = frozenset()
    """Paths that look like movies and are none: the gain."""
    accept: Callable[[str], bool] = lambda path: True
    """Whether a path with a movie's suffix is that of a movie."""
    metadata: Path | None = None
    """Another folder with the files that describe the movies; for those that have none beside them."""

    def list_files(self) -> FolderListing:
        """All there is now. A subfolder that cannot be read counts as empty.

        Raises:
            OSError: the folder itself cannot be read.
        """
        os.scandir(self.folder).close()
        listing = FolderListing()
        for place, names, matching in _walk(str(self.folder), "", PurePosixPath(self.pattern).parts):
            listing.names[place] = names
            paths = (_join(place, name) for name in matching if _is_movie(name))
            listing.movies += [path for path in paths if path not in self.aside and self.accept(path)]
        if self.metadata is not None:
            listing.elsewhere = self._list_elsewhere(self.metadata)
        return listing

    def _list_elsewhere(self, metadata: Path) -> dict[str, str]:
        """Relative to this folder; of files with one name the first by path. A folder that cannot be read counts as empty."""
        start = os.path.relpath(metadata, self.folder)
        found: dict[str, str] = {}
        for place, names, _ in sorted(_walk(str(metadata), "", ("**", "*"))):
            for name in names:
                found.setdefault(name, f"{start}/{_join(place, name)}")
        return found

    def stat(self, path: str) -> FileState:
        return _make_state(os.stat(f"{self.folder}/{path}"))

    def inspect(self, movie: str, metadata: str | None) -> Inspection:
        """Open the file, so that a network filesystem asks its server how it is now, then read header and metadata.

        Raises:
            OSError: it cannot be opened.
        """
        path = self.folder / movie
        with path.open("rb") as file:
            state = _make_state(os.fstat(file.fileno()))
            file.seek(max(0, state.size - _TAIL))
            tail = file.read(_TAIL)
        try:
            frames = read_movie_header(path).frames
            problem = _find_bad_end(path, tail)
            promised = read_promised_frames(self.folder / metadata, path.name) if metadata else None
        except BadInput as error:
            return Inspection(state, problem=str(error))
        except Transient as error:
            return Inspection(state, problem=str(error), final=False)
        return Inspection(state, frames, promised, problem, doubtful=len(tail) == _TAIL and not any(tail))


def _make_state(status: os.stat_result) -> FileState:
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino, status.st_blocks)


def _is_movie(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES) and not name.startswith(".")


def _join(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _walk(root: str, place: str, parts: tuple[str, ...]) -> Iterator[tuple[str, Set[str], list[str]]]:
    """Folders, the names in them and those of files that match the last part; without hidden folders and loops of links."""
    first, rest = parts[0], parts[1:]
    if rest and first != "**" and not any(sign in first for sign in "*?["):
        yield from _walk(root, _join(place, first), rest)
        return
    try:
        with os.scandir(os.path.join(root, place)) as entries:
            found = [entry for entry in entries if is_text(entry.name)]
    except OSError:
        return  # not there yet, or not readable; what was taken from it is asked for by name before it counts as gone
    if first == "**":
        yield from _walk(root, place, rest or ("*",))
        for entry in found:
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                yield from _walk(root, _join(place, entry.name), parts)
    elif rest:
        for entry in found:
            if fnmatch.fnmatchcase(entry.name, first) and not entry.name.startswith(".") and entry.is_dir():
                yield from _walk(root, _join(place, entry.name), rest)
    else:
        names = {entry.name for entry in found}
        yield place, names, [e.name for e in found if fnmatch.fnmatchcase(e.name, first) and not e.is_dir()]


def _find_bad_end(path: Path, tail: bytes) -> str | None:
    """Whether a compressed MRC movie ends where it should; of the others the header says so."""
    if not is_compressed(path) or MOVIE_SUFFIXES[find_suffix(path)] != "mrc":
        return None
    if path.suffix.lower() == ".gz":
        header = read_mrc_header(path)
        whole = header.data_offset + header.data_bytes
        written = struct.unpack("<I", tail[-4:])[0]
        good = (written - whole) % (1 << 32) < header.section_bytes
    else:
        end = int.from_bytes(tail[-11:], "big")
        good = any((end >> shift) & ((1 << 48) - 1) == _BZ2_END for shift in range(32, 41))
    return None if good else f"{path}: truncated: the compressed data do not end here"
