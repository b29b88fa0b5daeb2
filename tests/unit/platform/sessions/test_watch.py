"""A watch takes each finished movie once, with its final content, whatever happens to the folder and to the watch."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from magellon.errors import Transient
from magellon.platform.sessions.watch import FolderWatch
from magellon.platform.sessions.watch_records import FileState, Increment, Inspection, Taken, choose_name, rebuild_taken
from magellon.platform.sessions.watch_settings import SeenMovie, WatchSettings

FRAMES = 4
SETTINGS = WatchSettings(settle=10, patience=60, recheck=20)


@dataclass(frozen=True)
class File:
    """A file whose content is a number of frames and a word that says which movie it is."""

    word: str
    frames: int
    whole: int
    mtime: int
    inode: int

    @property
    def state(self) -> FileState:
        return FileState(self.frames * 100, self.mtime, self.inode, self.frames)


@dataclass
class FakeFolder:
    """Files that a test puts there. Their times count backwards: no clock may be compared with them."""

    files: dict[str, File] = field(default_factory=dict)
    metadata: dict[str, int | None] = field(default_factory=dict)
    """Movie > frames promised by the file beside it."""
    away: bool = False
    header_complete_early: bool = False
    """As a TIFF file that is complete after each frame."""
    _inode: int = 0
    _mtime: int = 10**18

    def write(self, path: str, word: str, frames: int, whole: int = FRAMES) -> None:
        self._mtime -= 10**9
        self._inode += path not in self.files
        inode = self.files[path].inode if path in self.files else self._inode
        self.files[path] = File(word, frames, whole, self._mtime, inode)

    def rename(self, path: str, target: str) -> None:
        self.files[target] = self.files.pop(path)
        if path in self.metadata:
            self.metadata[target] = self.metadata.pop(path)

    # What a watch asks

    @property
    def movies(self) -> list[str]:
        return list(self.files)

    def list_files(self) -> "FakeFolder":
        if self.away:
            raise OSError("stale file handle")
        return self

    def find_metadata(self, movie: str) -> str | None:
        return f"{movie}.mdoc" if movie in self.metadata else None

    def stat(self, path: str) -> FileState:
        if path.endswith(".mdoc"):
            return FileState(1, self.metadata[path[:-5]] or 0)
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path].state

    def inspect(self, movie: str, metadata: str | None) -> Inspection:
        file = self.files[movie]
        complete = file.frames >= file.whole or self.header_complete_early
        promised = self.metadata.get(movie) if metadata else None
        return Inspection(file.state, file.frames, promised, None if complete else f"{movie}: truncated")


@dataclass
class Session:
    """A watch with its clock and what it told so far."""

    folder: FakeFolder = field(default_factory=FakeFolder)
    settings: WatchSettings = SETTINGS
    now: float = 0.0
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = FolderWatch(self.folder, self.settings)

    def poll(self) -> Increment:
        increment = self.watch.poll(self.now)
        self.watch.confirm(increment)
        for kind, movies in (("ready", increment.ready), ("renamed", increment.renamed), ("vanished", increment.vanished)):
            self.told += [f"{kind} {movie.name}" + (f" ({movie.problem})" if movie.problem else "") for movie in movies]
        return increment

    def wait(self, seconds: float, step: float = 2.0) -> list[str]:
        """Poll for so long; what was told meanwhile."""
        before = len(self.told)
        end = self.now + seconds
        while self.now < end:
            self.now += step
            self.poll()
        return self.told[before:]

    def restart(self) -> None:
        rows = [(movie.name, movie.seen.model_dump(), movie.problem) for movie in self.watch.taken.values()]
        self.watch = FolderWatch.resume(self.folder, self.settings, rebuild_taken(rows))


@pytest.fixture
def session() -> Session:
    return Session()


def test_a_movie_is_taken_when_it_has_settled_and_its_header_is_complete(session: Session) -> None:
    for frames in range(FRAMES + 1):
        session.folder.write("a.mrc", "a", frames)
        assert session.wait(30) == (["ready a"] if frames == FRAMES else [])
    assert session.watch.taken["a.mrc"].seen.frames == FRAMES
    assert session.wait(200) == []


def test_one_look_is_never_enough(session: Session) -> None:
    session.folder.write("a.mrc", "a", FRAMES)
    session.poll()
    session.now += 1000
    assert session.poll().ready, "unchanged for longer than any pause, seen twice"
    eager = Session(settings=SETTINGS.model_copy(update={"settle": 0.0}))
    eager.folder.write("a.mrc", "a", FRAMES)
    assert not eager.poll().ready
    assert eager.poll().ready


def test_metadata_that_promises_what_is_there_saves_the_wait(session: Session) -> None:
    session.folder.header_complete_early = True
    session.folder.metadata["a.tif"] = FRAMES
    session.folder.write("a.tif", "a", FRAMES - 1)
    assert session.wait(40) == [], "complete as a file, but a frame short"
    session.folder.write("a.tif", "a", FRAMES)
    assert session.wait(4) == ["ready a"]


def test_fewer_frames_than_usual_wait_for_more(session: Session) -> None:
    session.folder.header_complete_early = True
    session.folder.write("a.tif", "a", FRAMES)
    session.wait(20)
    session.folder.write("b.tif", "b", FRAMES - 1)
    assert session.wait(50) == [], "the writer pauses"
    session.folder.write("b.tif", "b", FRAMES)
    assert session.wait(20) == ["ready b"]
    session.folder.write("c.tif", "c", FRAMES - 1)
    assert session.wait(70) == ["ready c"], "the microscope was stopped: what is there counts"


def test_a_damaged_movie_is_told_once_and_taken_when_it_is_repaired(session: Session) -> None:
    session.folder.write("a.mrc", "a", 2)
    assert session.wait(200) == ["ready a (a.mrc: truncated)"]
    session.folder.write("a.mrc", "a", FRAMES)
    assert session.wait(60) == ["ready a"]
    session.folder.write("empty.mrc", "b", 0)
    assert session.wait(50) == []
    assert session.wait(50) == ["ready empty (empty.mrc: truncated)"]


def test_a_filesystem_that_fails_gives_no_verdict(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.folder.write("a.mrc", "a", FRAMES)
    good = session.folder.inspect
    monkeypatch.setattr(session.folder, "inspect", lambda *of: replace(good(*of), problem="input/output error", final=False))
    assert session.wait(300) == []
    monkeypatch.undo()
    assert session.wait(20) == ["ready a"]


def test_a_movie_written_again_is_taken_again(session: Session) -> None:
    session.folder.write("a.mrc", "a", FRAMES)
    session.wait(20)
    session.folder.write("a.mrc", "other", FRAMES)
    assert session.wait(60) == ["ready a"]
    assert session.watch.taken["a.mrc"].seen.mtime == session.folder.files["a.mrc"].mtime


def test_a_renamed_movie_keeps_its_name_and_is_not_new(session: Session) -> None:
    for name in ("a.mrc", "b.mrc"):
        session.folder.write(name, name, FRAMES)
    session.wait(20)
    session.folder.rename("a.mrc", "z.mrc")
    assert session.wait(100) == ["renamed a"]
    session.restart()
    session.folder.rename("z.mrc", "sorted/a.mrc")
    assert session.wait(100) == ["renamed a"]
    session.folder.write("a.mrc", "new", FRAMES)
    assert session.wait(60) == ["ready a_mrc"]


def test_a_copy_with_its_time_under_the_same_file_name_is_the_same_movie(session: Session) -> None:
    session.folder.write("raw/a.mrc", "a", FRAMES)
    session.folder.write("raw/b.mrc", "b", FRAMES)
    session.wait(20)
    moved = session.folder.files.pop("raw/a.mrc")
    session.folder.files["disk2/a.mrc"] = replace(moved, inode=999)
    assert session.wait(100) == ["renamed a"]


def test_movies_that_go_are_told_and_those_that_come_back_too(session: Session) -> None:
    for name in ("a.mrc", "b.mrc"):
        session.folder.write(name, name, FRAMES)
    session.wait(20)
    gone = session.folder.files.pop("a.mrc")
    assert session.wait(4) == []
    assert session.wait(20) == ["vanished a"]
    session.folder.files["a.mrc"] = gone
    assert session.wait(20) == ["renamed a"]
    assert not session.watch.taken["a.mrc"].gone


def test_an_empty_mount_point_is_no_deletion(session: Session) -> None:
    session.folder.write("a.mrc", "a", FRAMES)
    session.wait(20)
    files = session.folder.files
    session.folder.files = {}
    with pytest.raises(Transient, match="mounted"):
        session.wait(100)
    session.folder.files = files
    assert session.wait(100) == []


def test_late_metadata_makes_a_movie_be_read_again(session: Session) -> None:
    session.folder.write("a.mrc", "a", FRAMES)
    assert session.wait(20) == ["ready a"]
    session.folder.metadata["a.mrc"] = FRAMES
    assert session.wait(60) == ["ready a"]
    session.restart()
    assert session.wait(200) == []
    session.folder.write("b.mrc", "b", FRAMES)
    assert session.wait(40) == [], "all others have metadata: it waits for its own"
    session.folder.metadata["b.mrc"] = None
    assert session.wait(20) == ["ready b"]


def test_what_was_not_confirmed_is_told_again(session: Session) -> None:
    session.folder.write("a.mrc", "a", FRAMES)
    session.poll()
    for _ in range(3):
        session.now += 20
        assert [movie.name for movie in session.watch.poll(session.now).ready] == ["a"]


def test_movies_imported_before_are_known_without_their_metadata(session: Session) -> None:
    session.folder.write("a.mrc", "a", FRAMES)
    session.folder.metadata["a.mrc"] = None
    state = session.folder.files["a.mrc"].state
    seen = SeenMovie(path="a.mrc", size=state.size, mtime=state.mtime, metadata=None)
    session.watch = FolderWatch.resume(session.folder, SETTINGS, [Taken("a", seen)])
    assert session.wait(200) == []


def test_names_are_given_once() -> None:
    given: set[str] = set()
    for path in ("x/a.mrc", "y/a.mrc", "y/a.tif", "z/y/a.tif", "q/y/a.tif"):
        given.add(choose_name(path, given))
    assert given == {"a", "y_a", "a_tif", "y_a.tif", "a-2"}


def test_a_large_backlog_comes_in_parts(session: Session) -> None:
    for number in range(450):
        session.folder.write(f"m{number:04}.mrc", str(number), FRAMES)
    session.poll()
    session.now += 20
    increments = [session.poll() for _ in range(4)]
    assert [(len(increment.ready), increment.more) for increment in increments] == [
        (200, True),
        (200, True),
        (50, False),
        (0, False),
    ]


class GrowingFolder(RuleBasedStateMachine):
    """Movies come in pieces, are renamed, written again, deleted; the watch is killed at any time, even before it confirms."""

    @initialize(early=st.booleans())
    def start(self, early: bool) -> None:
        self.session = Session()
        self.session.folder.header_complete_early = early
        self.session.folder.write("always.mrc", "always", FRAMES)
        self.number = 0
        self.processed: dict[str, list[str]] = {}
        """Content > names under which it was taken as good."""
        self.tell()

    @property
    def files(self) -> dict[str, File]:
        return self.session.folder.files

    def tell(self, lost: bool = False) -> None:
        """A poll; `lost`: the server dies before the increment is in the ledger."""
        increment = self.session.watch.poll(self.session.now)
        if lost:
            self.session.restart()
            return
        self.session.watch.confirm(increment)
        for movie in increment.ready:
            file = self.files[movie.seen.path]
            if movie.problem is None:
                assert file.frames == file.whole, f"{movie.seen.path} was taken with {file.frames} of {file.whole} frames"
                self.processed.setdefault(file.word, []).append(movie.name)

    def choose(self, data: st.DataObject, accept: Callable[[File], bool]) -> str | None:
        paths = sorted(path for path, file in self.files.items() if accept(file) and path != "always.mrc")
        return data.draw(st.sampled_from(paths)) if paths else None

    @rule(frames=st.sampled_from([0, 1, 3, FRAMES, FRAMES]), folder=st.sampled_from(["", "x/"]), metadata=st.booleans())
    def begin(self, frames: int, folder: str, metadata: bool) -> None:
        self.number += 1
        path = f"{folder}m{self.number}.mrc"
        self.session.folder.write(path, f"movie {self.number}", frames)
        if metadata:
            self.session.folder.metadata[path] = FRAMES

    @rule(data=st.data())
    def grow(self, data: st.DataObject) -> None:
        path = self.choose(data, lambda file: file.frames < file.whole)
        if path:
            self.session.folder.write(path, self.files[path].word, self.files[path].frames + 1)

    @rule(data=st.data(), taken=st.booleans())
    def write_again(self, data: st.DataObject, taken: bool) -> None:
        self.pass_time(3 if taken else 0)
        path = self.choose(data, lambda file: file.frames == file.whole)
        if path:
            self.number += 1
            self.session.folder.write(path, f"movie {self.number}", FRAMES)

    @rule(data=st.data(), folder=st.sampled_from(["", "x/", "y/"]), taken=st.booleans())
    def rename(self, data: st.DataObject, folder: str, taken: bool) -> None:
        self.pass_time(3 if taken else 0)
        path = self.choose(data, lambda file: file.frames == file.whole)
        if path:
            self.number += 1
            self.session.folder.rename(path, f"{folder}r{self.number}.mrc")

    @rule(data=st.data(), taken=st.booleans())
    def delete(self, data: st.DataObject, taken: bool) -> None:
        self.pass_time(3 if taken else 0)
        path = self.choose(data, lambda file: True)
        if path:
            del self.files[path]
            self.session.folder.metadata.pop(path, None)

    @rule(steps=st.sampled_from([1, 2, 3, 12]), lost=st.booleans())
    def look(self, steps: int, lost: bool) -> None:
        self.pass_time(steps, lost)

    def pass_time(self, steps: int, lost: bool = False) -> None:
        """Poll; with files that can be read at any length no pause is so long that a part could be taken for the whole."""
        for number in range(steps):
            growing = [path for path, file in self.files.items() if file.frames < file.whole]
            pausing = growing and self.session.folder.header_complete_early
            self.session.now += 2.0 if pausing else 7.0
            self.tell(lost and number == steps - 1)
            if pausing and number % 3 == 2:
                for path in growing:
                    self.session.folder.write(path, self.files[path].word, self.files[path].frames + 1)

    @precondition(lambda self: not self.session.folder.away)
    @rule()
    def lose_the_mount(self) -> None:
        self.session.folder.away = True
        with pytest.raises(OSError, match="stale"):
            self.tell()
        self.session.folder.away = False

    @rule()
    def restart(self) -> None:
        self.session.restart()

    @invariant()
    def nothing_twice(self) -> None:
        for word, names in getattr(self, "processed", {}).items():
            assert len(names) == 1, f"{word} was taken {len(names)} times: {names}"

    def teardown(self) -> None:
        if not hasattr(self, "session"):
            return
        for path, file in list(self.files.items()):
            self.session.folder.write(path, file.word, FRAMES) if file.frames < FRAMES else None
        for _ in range(60):
            self.session.now += 5
            self.tell()
        for path, file in self.files.items():
            assert file.word in self.processed, f"{path} was missed"
            taken = self.session.watch.taken[path]
            assert file.state.holds_same(taken.seen)
            assert taken.problem is None
            assert not taken.gone
        self.nothing_twice()
        names = [movie.name for movie in self.session.watch.taken.values()]
        assert len(names) == len(set(names))


GrowingFolder.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestGrowingFolder = GrowingFolder.TestCase
