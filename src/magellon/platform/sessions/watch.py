"""Watching a folder that grows: from what one poll after another sees to movies that are finished, written again or gone.

The folder and the clock are given. Times of files are compared with each other, never with a clock: those of a fileserver
and of the machines that write to it need not agree with ours.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from magellon.errors import Transient
from magellon.platform.sessions.watch_records import (
    FileState,
    Folder,
    Increment,
    Inspection,
    Listing,
    Taken,
    choose_name,
    is_same_file,
)
from magellon.platform.sessions.watch_settings import SeenMovie, WatchSettings

_USUAL = 0.9
"""A movie with fewer frames than this part of what is usual may not be finished."""
_INSPECTED_AT_ONCE = 200
_LEAST_RECHECKED = 50


@dataclass
class _Pending:
    """A file that is not taken as it is now."""

    state: FileState
    since: float
    """When it was first seen so, by our clock."""
    polls: int = 1
    inspection: Inspection | None = None
    inspected_at: float = -math.inf
    metadata: str = ""
    """As it was at the inspection."""


@dataclass
class FolderWatch:
    """The state of a watch: small, and made again from the movies that were taken."""

    folder: Folder
    settings: WatchSettings
    taken: dict[str, Taken] = field(default_factory=dict)
    """By path; by the former path of those that are gone."""
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _missing: dict[str, float] = field(default_factory=dict)
    _late: dict[str, str] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _frames: Counter[tuple[str, int]] = field(default_factory=Counter)
    """Movies by suffix and number of frames."""
    _described: int = 0
    """Movies with metadata."""
    _cursor: int = 0
    _polled_at: float | None = None

    @classmethod
    def resume(cls, folder: Folder, settings: WatchSettings, taken: Iterable[Taken] = ()) -> "FolderWatch":
        watch = cls(folder, settings)
        for movie in taken:
            watch._keep(movie)
        return watch

    def poll(self, now: float) -> Increment:
        """Look once, at the time `now` of a clock that only goes forward.

        Raises:
            OSError: the folder cannot be listed.
            Transient: all movies are gone at once, as when a filesystem is no longer mounted.
        """
        listing = self.folder.list_files()
        here = set(listing.movies)
        there = [path for path, movie in self.taken.items() if not movie.gone]
        if there and not here:
            raise Transient(f"none of the {len(there)} movies is there any more: is the filesystem mounted?")
        self._look_at_new(here, now)
        self._look_again(listing, [path for path in there if path in here], now)
        missing = [path for path in there if path not in here and self._is_missing(path)]
        self._missing = {path: self._missing.get(path, now) for path in missing}
        self._polled_at = now
        renamed = self._find_renamed()
        moved = {movie.name for movie in renamed}
        vanished = [
            self.taken[path]
            for path, since in self._missing.items()
            if since < now and now - since >= self.settings.settle and self.taken[path].name not in moved
        ]
        ready, more = self._find_ready(listing, now, {movie.seen.path for movie in renamed})
        waiting = sum(pending.state.size > 0 for pending in self._pending.values()) - len(ready) - len(renamed)
        return Increment(tuple(ready), tuple(renamed), tuple(vanished), max(waiting, 0), more)

    def confirm(self, increment: Increment) -> None:
        """The increment is in the ledger."""
        for movie in increment.vanished:
            self.taken[movie.seen.path] = replace(movie, gone=True)
        paths = {movie.name: path for path, movie in self.taken.items()} if increment.renamed else {}
        for movie in increment.renamed:
            self._forget(paths[movie.name])
        for movie in (*increment.renamed, *increment.ready):
            self._keep(movie)
            self._pending.pop(movie.seen.path, None)
            self._late.pop(movie.seen.path, None)

    def _keep(self, movie: Taken) -> None:
        self._forget(movie.seen.path)
        self.taken[movie.seen.path] = movie
        self._names.add(movie.name)
        self._count(movie, 1)

    def _forget(self, path: str) -> None:
        if path in self.taken:
            self._count(self.taken.pop(path), -1)

    def _count(self, movie: Taken, step: int) -> None:
        self._frames[PurePosixPath(movie.seen.path).suffix, movie.seen.frames] += step
        self._described += step if movie.seen.metadata else 0

    # Looking

    def _look_at_new(self, here: set[str], now: float) -> None:
        """Files that are not taken, and taken ones that changed."""
        for path in [path for path in self._pending if path not in here]:
            del self._pending[path]
        for path in here:
            taken = self.taken.get(path)
            if path in self._pending or taken is None or taken.gone:
                self._look_at(path, now)

    def _look_at(self, path: str, now: float) -> None:
        pending = self._pending.get(path)
        if pending is not None and pending.inspection is None and self._has_settled(pending, now):
            return  # of a long queue: the inspection looks at it
        try:
            state = self.folder.stat(path)
        except OSError:
            self._pending.pop(path, None)
            return
        if pending is None or (pending.state.blocks, pending.state.size, pending.state.mtime) != (
            state.blocks, state.size, state.mtime,
        ):  # fmt: skip
            self._pending[path] = _Pending(state, now)
        else:
            pending.polls += 1

    def _has_settled(self, pending: _Pending, now: float) -> bool:
        return pending.polls >= 2 and now - pending.since >= self.settings.settle

    def _look_again(self, listing: Listing, there: list[str], now: float) -> None:
        """A part of the movies taken before, so that each has its turn once in `recheck` seconds."""
        passed = self.settings.recheck if self._polled_at is None else now - self._polled_at
        share = passed / self.settings.recheck if self.settings.recheck else 1.0
        number = min(len(there), max(_LEAST_RECHECKED, math.ceil(len(there) * share)))
        turn = [there[(self._cursor + index) % len(there)] for index in range(number)]
        self._cursor = (self._cursor + number) % max(len(there), 1)
        for path in {*turn, *self._late} & set(there):
            self._recheck(listing, path, now)

    def _recheck(self, listing: Listing, path: str, now: float) -> None:
        if path in self._pending:
            return
        taken = self.taken[path]
        try:
            state = self.folder.stat(path)
            mark = self._mark(listing, path)
        except OSError:
            return
        if not state.holds_same(taken.seen):
            self._pending[path] = _Pending(state, now)
        elif taken.seen.metadata is None:
            self._keep(replace(taken, seen=taken.seen.model_copy(update={"metadata": mark})))
        elif mark in ("", taken.seen.metadata):
            self._late.pop(path, None)
        elif self._late.get(path) == mark:  # seen twice, so it is whole
            self._pending[path] = _Pending(state, now - self.settings.settle, polls=2)
        else:
            self._late[path] = mark

    def _mark(self, listing: Listing, movie: str) -> str:
        """Size and time of the metadata file; empty without one."""
        metadata = listing.find_metadata(movie)
        if metadata is None:
            return ""
        state = self.folder.stat(metadata)
        return f"{state.size}:{state.mtime}"

    def _is_missing(self, path: str) -> bool:
        """A listing made while files come and go may leave one out."""
        try:
            self.folder.stat(path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    # Deciding

    def _find_renamed(self) -> list[Taken]:
        """New files that are movies taken under another path: the same file, or moved with its name, time and size."""
        lost: dict[tuple[int, int], list[Taken]] = {}
        for path, movie in self.taken.items():
            if movie.gone or path in self._missing:
                lost.setdefault((movie.seen.size, movie.seen.mtime), []).append(movie)
        renamed = []
        for path, pending in self._pending.items() if lost else ():
            choices = lost.get((pending.state.size, pending.state.mtime), [])
            for movie in choices:
                if is_same_file(movie.seen, path, pending.state):
                    choices.remove(movie)
                    seen = movie.seen.model_copy(update={"path": path, "inode": pending.state.inode})
                    renamed.append(replace(movie, seen=seen, gone=False))
                    break
        return renamed

    def _find_ready(self, listing: Listing, now: float, known: set[str]) -> tuple[list[Taken], bool]:
        """Finished movies, oldest first, and whether there was no time to look at all that may be."""
        ready: list[Taken] = []
        given = set(self._names)
        inspected = 0
        for path, pending in sorted(self._pending.items(), key=lambda item: (item[1].since, item[0])):
            if path in known or not self._may_be_finished(listing, path, pending, now):
                continue
            if inspected >= _INSPECTED_AT_ONCE:
                return ready, True
            inspected += 1
            problem = self._examine(listing, path, pending, now)
            if problem is not None:
                ready.append(self._take(path, pending, problem, given))
                given.add(ready[-1].name)
        return ready, False

    def _may_be_finished(self, listing: Listing, path: str, pending: _Pending, now: float) -> bool:
        """Whether it is worth opening the file."""
        if pending.polls < 2 or (pending.state.size == 0 and now - pending.since < self.settings.patience):
            return False
        if not self._has_settled(pending, now) and listing.find_metadata(path) is None:
            return False
        overdue = now - pending.since >= self.settings.patience
        return overdue or now - pending.inspected_at >= self.settings.settle

    def _examine(self, listing: Listing, path: str, pending: _Pending, now: float) -> str | None:
        """As `_judge`, by a look at the file as it is now."""
        metadata = listing.find_metadata(path)
        pending.inspected_at = now
        try:
            inspection = self.folder.inspect(path, metadata)
            pending.metadata = self._mark(listing, path)
        except OSError:
            return None
        if not inspection.state.holds_same(pending.state):
            self._pending[path] = _Pending(inspection.state, now)
            return None
        pending.inspection = inspection
        return self._judge(path, inspection, now - pending.since, metadata is not None)

    def _judge(self, path: str, found: Inspection, age: float, described: bool) -> str | None:
        """None: not yet; empty: it is finished; otherwise what is wrong with it."""
        if not found.final:
            return None
        overdue = age >= self.settings.patience
        if found.problem is not None:
            return found.problem if overdue else None
        if found.promised is not None and found.frames >= found.promised and not found.doubtful:
            return ""
        if age < self.settings.settle:
            return None
        usual = self._find_usual_frames(PurePosixPath(path).suffix)
        unusual = found.frames < max(_USUAL * usual, found.promised or 0)
        undescribed = not described and self._described * 2 > len(self.taken)
        return "" if overdue or not (unusual or undescribed or found.doubtful) else None

    def _find_usual_frames(self, kind: str) -> int:
        counts = {frames: number for (suffix, frames), number in self._frames.items() if suffix == kind and frames}
        return max(counts, key=lambda frames: (counts[frames], frames), default=0)

    def _take(self, path: str, pending: _Pending, problem: str, given: Collection[str]) -> Taken:
        assert pending.inspection is not None
        taken = self.taken.get(path)
        state = pending.state
        seen = SeenMovie(
            path=path, size=state.size, mtime=state.mtime, inode=state.inode, metadata=pending.metadata,
            frames=pending.inspection.frames,
        )  # fmt: skip
        return Taken(taken.name if taken else choose_name(path, given), seen, problem=problem or None)
