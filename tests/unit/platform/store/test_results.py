"""Results appear whole, once, and are never changed."""

import json
from pathlib import Path

import pytest

from magellon.contracts.task import Task
from magellon.platform.store.results import ResultStore

IDENTITY = "ab" + "0" * 62
TASK = Task(
    id=1,
    attempt=1,
    identity=IDENTITY,
    category="fft",
    backend="fake",
    version=1,
    label="x",
    params={"salt": 1},
    input={},
    seed=3,
)
OUTPUT = {"picture": "a_fft.png"}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def make_work(folder: Path, text: str = "picture") -> Path:
    folder.mkdir(parents=True)
    (folder / "a_fft.png").write_text(text)
    return folder


def test_a_promoted_result_can_be_read_and_says_what_it_is(store: ResultStore) -> None:
    assert store.read(IDENTITY) is None
    work = make_work(store.folder / ".work/1")
    assert store.promote(TASK, work, OUTPUT)
    assert store.read(IDENTITY) == OUTPUT
    assert not work.exists()
    record = json.loads((store.path(IDENTITY) / "result.json").read_text())
    assert record["params"] == {"salt": 1}
    assert record["files"] == {"a_fft.png": 7}
    text = (store.path(IDENTITY) / "result.json").read_text()
    assert str(store.folder) not in text
    assert "time" not in text


def test_a_second_finisher_discards_its_folder(store: ResultStore) -> None:
    assert store.promote(TASK, make_work(store.folder / ".work/1", "first"), OUTPUT)
    second = make_work(store.folder / ".work/2", "later")
    assert not store.promote(TASK, second, OUTPUT)
    assert (store.path(IDENTITY) / "a_fft.png").read_text() == "first"
    assert not second.exists()


def test_a_spoiled_result_is_no_result_and_is_replaced(store: ResultStore) -> None:
    store.promote(TASK, make_work(store.folder / ".work/1", "picture"), OUTPUT)
    (store.path(IDENTITY) / "a_fft.png").write_text("")
    assert store.read(IDENTITY) is None
    assert store.promote(TASK, make_work(store.folder / ".work/2", "picture"), OUTPUT)
    assert store.read(IDENTITY) == OUTPUT
    assert not list((store.folder / ".work").iterdir())
