"""Links beside the ledger: in their order, counted while they wait, made again when the disk refuses."""

import asyncio
import os
from pathlib import Path

import pytest

from magellon.platform.server import linking
from magellon.platform.server.book import Book
from magellon.platform.server.linking import Linker
from magellon.platform.server.links import Link
from magellon.platform.server.policy import Policy
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore


@pytest.fixture
def book(tmp_path: Path) -> Book:
    home = Home.at(tmp_path)
    home.prepare()
    return Book(Ledger.at(home.ledger), home, Policy(), ResultStore(home.results))


def make(book: Book, number: int, job: int = 1, name: str | None = None) -> Link:
    return Link(job, f"{book.home.root}/sessions/lot/{name or number}", f"{book.home.root}/results/{number}")


def test_the_last_one_asked_for_stays_and_the_job_is_busy_until_then(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "_AT_A_TIME", 2)

    async def ask() -> None:
        linker = Linker(book)
        linker.add([make(book, number, name="latest") for number in range(5)])
        linker.add([make(book, 7, job=2)])
        assert linker.is_busy(1)
        assert linker.is_busy(2)
        while linker.is_busy(1) or linker.is_busy(2):
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(ask(), 10))
    assert os.readlink(book.home.root / "sessions/lot/latest") == "../../results/4"
    assert os.readlink(book.home.root / "sessions/lot/7") == "../../results/7"
    assert not book.loosened


def test_tasks_wait_where_links_take_longer(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "_MOST_WAITING", 3)

    async def ask() -> None:
        linker = Linker(book)
        linker.add([make(book, number) for number in range(20)])
        await linker.wait_for_room()
        assert not linker.is_busy(1)

    asyncio.run(asyncio.wait_for(ask(), 10))
    assert len(list((book.home.root / "sessions/lot").iterdir())) == 20


def test_a_folder_that_takes_no_links_leaves_the_job_to_be_looked_through(book: Book) -> None:
    (book.home.root / "sessions").rmdir()
    (book.home.root / "sessions").write_text("a file where a folder should be")

    async def ask() -> None:
        linker = Linker(book)
        linker.add([make(book, 1, job=3)])
        while linker.is_busy(3):
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(ask(), 10))
    assert book.loosened == {3}
