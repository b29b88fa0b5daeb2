"""A small job in a ledger of its own: five movies, three steps."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_session import STEPS, write_session

import fake_backends
from magellon.backends.describe import describe_backend
from magellon.contracts.description import Description
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server.book import Book
from magellon.platform.server.policy import Policy
from magellon.platform.server.submitting import Submission, find_session, submit_session
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    home = Home.at(tmp_path / "home")
    home.prepare()
    ledger = Ledger.at(home.ledger)
    ledger.migrate()
    yield Book(ledger, home, Policy(window=3), ResultStore(home.results))
    ledger.close()


@pytest.fixture(scope="module")
def catalogue() -> dict[str, Description]:
    classes = (fake_backends.FakeMotion, fake_backends.FakeFft, fake_backends.FakeStar)
    return {description.key: description for description in map(describe_backend, classes)}


@pytest.fixture
def job(book: Book, tmp_path: Path, catalogue: dict[str, Description]) -> int:
    recipe = Recipe.model_validate({"steps": {key: {"backend": "fake"} for key in STEPS}})
    submission = Submission(folder=str(write_session(tmp_path / "lot", 5)), recipe=recipe)
    found = find_session(submission)
    with book.ledger.transaction() as connection:
        number = submit_session(book, connection, submission, found, catalogue)
        assert submit_session(book, connection, submission, found, catalogue) == number
        return number
