"""What commands of this machine ask of the server is noted, and what was wrong with a folder is kept for others to see."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_session import STEPS
from sqlalchemy import select

from magellon.contracts.description import Description
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server import plugins as plugins_module
from magellon.platform.server import requests as requests_module
from magellon.platform.server.book import Book
from magellon.platform.server.cleaning import CleanRequest
from magellon.platform.server.plugins import PluginRequest
from magellon.platform.server.requests import Reception
from magellon.platform.server.submitting import Submission, list_problems
from magellon.platform.store.schema import audit, sessions
from session_files import make_epu


@pytest.fixture
def reception(book: Book, catalogue: dict[str, Description], monkeypatch: pytest.MonkeyPatch) -> Reception:
    """With no bus and no workers."""

    async def nothing(*arguments: object) -> None: ...

    watch = SimpleNamespace(list_beats=list, list_sights=list)
    dispatcher: Any = SimpleNamespace(
        book=book, watch=watch, relink=nothing, note_change=lambda job: None, ask_to_publish=lambda: None
    )
    for module in (requests_module, plugins_module):
        monkeypatch.setattr(module, "read_catalogue", lambda *arguments: catalogue)
    return Reception(dispatcher, SimpleNamespace())  # type: ignore[arg-type]


def _ask(reception: Reception, subject: str, request: Submission | PluginRequest | CleanRequest) -> Any:
    return asyncio.run(reception.answers()[subject](request.model_dump_json().encode()))  # type: ignore[arg-type]


def _list_acts(book: Book) -> list[tuple[str, str, str]]:
    with book.ledger.transaction() as connection:
        rows = connection.execute(select(audit).order_by(audit.c.id)).all()
    return [(row.user, row.action, row.target) for row in rows]


def _submit(reception: Reception, folder: Path) -> Any:
    recipe = Recipe.model_validate({"steps": {key: {"backend": "fake"} for key in STEPS}})
    return _ask(reception, "api.submit", Submission(folder=str(folder), recipe=recipe))


def test_what_commands_change_is_in_the_audit_log(reception: Reception, book: Book, tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "lot", 2)
    job = _submit(reception, folder)
    _ask(reception, "api.plugins", PluginRequest(do="disable", target="fft/fake"))
    _ask(reception, "api.plugins", PluginRequest(do="count", target="fft/fake"))
    _ask(reception, "api.clean", CleanRequest(dry_run=True))
    _ask(reception, "api.clean", CleanRequest())
    assert job == 1
    assert _list_acts(book) == [
        ("local", "submit session", str(folder)), ("local", "disable", "fft/fake"), ("local", "clean", str(book.home.root)),
    ]  # fmt: skip


def test_problems_of_a_folder_are_kept_until_it_is_read_again(reception: Reception, book: Book, tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "lot", 2)
    damaged = folder / "Images-Disc1/GridSquare_7/FoilHoles/FoilHole_100_20250101_000000.xml"
    damaged.parent.mkdir()
    damaged.write_text("<Microscope")
    _submit(reception, folder)
    with book.ledger.transaction() as connection:
        (problem,) = connection.execute(select(sessions.c.problems)).scalar_one()
    assert str(damaged) in problem
    damaged.unlink()
    _submit(reception, folder)
    with book.ledger.transaction() as connection:
        assert connection.execute(select(sessions.c.problems)).scalar_one() == []


def test_of_very_many_problems_the_first_are_told_and_the_rest_counted() -> None:
    problems = list_problems(f"movie {number}" for number in (*range(1000), 0, 1))
    assert (len(problems), problems[0], problems[-1]) == (200, "movie 0", "and 801 more")
