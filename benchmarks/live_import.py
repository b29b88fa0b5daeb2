"""Live import: a simulated hour of 1,000 movies, with pauses, renames and movies written again; and one more among 10,000.

Files and ledger are real, the clock is simulated, so that an hour takes as long as the work in it: the processor time is what
the server needs for it in an hour.
"""

import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.cost import measure_call
from benchmarks.table import Row
from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.pipeline.recipe import list_wanted, read_recipe
from magellon.platform.server.adding import add_movies
from magellon.platform.server.book import Book
from magellon.platform.server.looking import FolderReader, open_reader
from magellon.platform.server.policy import Policy
from magellon.platform.server.submitting import Submission, find_session, submit_session
from magellon.platform.sessions.definition import Acquisition
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore
from magellon.platform.store.schema import items, sessions

_Value = TypeVar("_Value")

HOUR = 3600.0
SEED = 11
_PARTS = 4
_WRITING = 8.0
"""Seconds that a movie takes to be written."""


def make_movie(number: int, frames: int = 4) -> bytes:
    """A whole MRC movie of a few kilobytes."""
    size = 16
    header = struct.pack("<10i", size, size, frames, 0, 0, 0, 0, size, size, frames)
    header += struct.pack("<3f", size, size, frames) + bytes(12) + struct.pack("<3i", 1, 2, 3)
    header = header.ljust(208, b"\0") + b"MAP " + bytes([0x44, 0x44, 0, 0])
    return header.ljust(1024, b"\0") + struct.pack("<I", number + 1) * (size * size * frames // 4)


@dataclass
class Scene:
    """A live session in a ledger of its own, and what a microscope does to its folder."""

    folder: Path
    book: Book
    reader: FolderReader
    expected: dict[str, bytes] = field(default_factory=dict)
    """Whole content by path."""
    finished: dict[str, float] = field(default_factory=dict)
    """When the last byte was written."""
    taken: dict[str, bytes] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)
    early: int = 0
    twice: int = 0

    def look(self, now: float) -> int:
        """One poll, entered into the ledger; how many movies were taken."""
        arrivals = self.reader.look(now)
        if arrivals.increment:
            with self.book.ledger.transaction() as connection:
                add_movies(self.book, connection, self.reader.session, arrivals)
            self.reader.confirm(arrivals)
        for movie in arrivals.increment.ready:
            path = movie.seen.path
            content = (self.folder / path).read_bytes()
            self.early += movie.problem is not None or content != self.expected[path]
            self.twice += content in self.taken.values() if len(self.expected) < 2000 else 0
            self.taken[path] = content
            if path in self.finished:
                self.lags.append(now - self.finished[path])
        for movie in arrivals.increment.renamed:
            self.taken[movie.seen.path] = self.expected[movie.seen.path]
        return len(arrivals.increment.ready)


def make_scene(work: Path) -> Scene:
    folder, home = work / "session", Home.at(work / "home")
    (folder / "movies").mkdir(parents=True)
    home.prepare()
    ledger = Ledger.at(home.ledger)
    ledger.migrate()
    book = Book(ledger, home, Policy(), ResultStore(home.results))
    recipe = read_recipe()
    given = Acquisition(pixel_size=1.0)
    submission = Submission(folder=str(folder), recipe=recipe, acquisition=given, alone=False, live=True)
    found = find_session(submission)
    with ledger.transaction() as connection:
        submit_session(book, connection, submission, found, read_catalogue(None, list_wanted(recipe)))
        number = connection.execute(sessions.select()).one().id
        return Scene(folder, book, open_reader(book, connection, number))


def _rename_key(known: dict[str, _Value], key: str, name: str) -> None:
    if key in known:
        known[name] = known.pop(key)


def plan_hour(scene: Scene, count: int) -> list[tuple[float, Callable[[float], None]]]:
    """What happens when: each movie in parts, one in ten with a pause of 30 s, some renamed or written again later."""
    chance = random.Random(SEED)
    happens: list[tuple[float, Callable[[float], None]]] = []

    def write(path: str, content: bytes, end: int) -> Callable[[float], None]:
        def act(now: float) -> None:
            scene.expected[path] = content
            (scene.folder / path).write_bytes(content[:end])
            if end == len(content):
                scene.finished[path] = now

        return act

    def rename(path: str, target: str) -> Callable[[float], None]:
        def act(now: float) -> None:
            (scene.folder / path).rename(scene.folder / target)
            _rename_key(scene.expected, path, target)
            _rename_key(scene.finished, path, target)
            _rename_key(scene.taken, path, target)

        return act

    for number in range(count):
        path, content = f"movies/m{number:05}.mrc", make_movie(number)
        start = number * HOUR / count + chance.uniform(0, 2)
        pause = 30.0 if chance.random() < 0.1 else 0.0
        for part in range(1, _PARTS + 1):
            late = pause if part == _PARTS else 0.0
            happens.append((start + late + _WRITING * part / _PARTS, write(path, content, len(content) * part // _PARTS)))
        fate = chance.random()
        if fate < 0.02:
            happens.append((start + chance.uniform(60, 200), rename(path, f"movies/r{number:05}.mrc")))
        elif fate < 0.04:
            again = make_movie(number + 1_000_000)
            happens.append((start + chance.uniform(60, 200), write(path, again[:-1] + b"\1", len(again))))
    return sorted(happens, key=lambda each: each[0])


def play_hour(scene: Scene, count: int) -> None:
    """A poll every two seconds until all has settled."""
    happens = plan_hour(scene, count)
    now = 0.0
    end = happens[-1][0] + 150
    while now < end:
        now += 2.0
        while happens and happens[0][0] <= now:
            moment, act = happens.pop(0)
            act(moment)
        scene.look(now)


def measure_hour(work: Path, count: int) -> Row:
    scene = make_scene(work)
    _, cost = measure_call(lambda: play_hour(scene, count))
    missed = sum(scene.taken.get(path) != content for path, content in scene.expected.items())
    with scene.book.ledger.transaction() as connection:
        entered = len(connection.execute(items.select()).all())
    scene.book.ledger.close()
    lags = sorted(scene.lags)
    accuracy = {
        "missed": float(missed + abs(entered - count)),
        "early": float(scene.early),
        "twice": float(scene.twice),
        "lag, median (s)": lags[len(lags) // 2],
        "lag, 95 % (s)": lags[int(0.95 * len(lags))],
        "CPU of the hour (s)": cost.cpu_seconds,
    }
    data = f"{count} movies in a simulated hour, 10 % with a pause of 30 s, 2 % renamed, 2 % written again, seed {SEED}"
    note = "real files and ledger, simulated clock, a poll every 2 s; with what the benchmark itself writes and compares"
    each = (cost.seconds / count, cost.cpu_seconds / count)
    return Row("live_import", "magellon watch", data, count, *each, cost.peak_megabytes, accuracy, note=note)


def measure_one_more(work: Path, present: int) -> Row:
    """What one new movie costs beside those that are there."""
    scene = make_scene(work)
    for number in range(present):
        path = f"movies/m{number:05}.mrc"
        scene.expected[path] = make_movie(number)
        (scene.folder / path).write_bytes(scene.expected[path])
    now, start = 0.0, time.perf_counter()
    while len(scene.taken) < present:
        now += 10.0
        scene.look(now)
    first = time.perf_counter() - start
    path = "movies/z.mrc"
    scene.expected[path] = make_movie(present)
    (scene.folder / path).write_bytes(scene.expected[path])
    scene.look(now + 10)
    taken, cost = measure_call(lambda: scene.look(now + 30))
    scene.book.ledger.close()
    _, idle = measure_call(lambda: scene.reader.look(now + 32))
    accuracy = {
        "all at first (s)": first,
        "missed": float(1 - taken),
        "early": float(scene.early),
        "idle poll (s)": idle.seconds,
    }
    data = f"one new movie beside {present}"
    return Row("live_import", "magellon watch", data, 1, cost.seconds, cost.cpu_seconds, cost.peak_megabytes, accuracy)


def run(work: Path, quick: bool) -> list[Row]:
    count, present = (100, 500) if quick else (1000, 10_000)
    return [measure_hour(work / "hour", count), measure_one_more(work / "more", present)]
