"""Files are sent as they are, in parts if wanted, and never from elsewhere."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import select, update
from test_previews import OUTPUT, PYRAMID

from magellon.platform.server.http.log_tail import follow_log
from magellon.platform.server.previews import enter_preview
from magellon.platform.store.schema import results, tasks


def _done(site: Any) -> int:
    number: int = site.get("/tasks?state=completed&step=motion_correction")["items"][0]["id"]
    return number


def test_files_of_a_result_with_types_and_ranges(site: Any) -> None:
    task = _done(site)
    listed = {each["name"]: each for each in site.get(f"/tasks/{task}/files")["files"]}
    assert {name: each["type"] for name, each in listed.items()} == {
        "m.mrc": "application/octet-stream", "m.png": "image/png", "m.star": "text/plain; charset=utf-8",
    }  # fmt: skip
    whole = site.ask("GET", f"/tasks/{task}/files/m.mrc")
    assert whole.content == b"m.mrc" * 100
    assert whole.headers["content-disposition"].startswith("attachment")
    part = site.ask("GET", f"/tasks/{task}/files/m.png", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"m.png", "image/png")
    assert site.ask("GET", f"/tasks/{task}/files/m.png", headers={"Range": "bytes=9999-"}).status_code == 416


@pytest.mark.parametrize("name", ["result.json", "../x", "%2e%2e/%2e%2e/x", "/etc/passwd", "a%00b", "m.mrc/", "nothing.png"])
def test_nothing_but_what_the_result_names_is_sent(site: Any, name: str) -> None:
    answer = site.ask("GET", f"/tasks/{_done(site)}/files/{name}")
    assert answer.status_code in (404, 422), answer.text


def test_session_files_are_links_into_results(site: Any) -> None:
    folder = site.book.home.sessions / "lot"
    (folder / "motion_correction").mkdir(parents=True, exist_ok=True)
    result = next(site.book.home.results.glob("*/*/m.png"))
    (folder / "motion_correction/m0.png").symlink_to(result)
    (folder / "secret").symlink_to("/etc/passwd")
    (folder / ".hidden").symlink_to(result)
    answer = site.ask("GET", "/sessions/1/files/motion_correction/m0.png")
    assert (answer.status_code, answer.content) == (200, b"m.png" * 100)
    for name in ("secret", ".hidden", "motion_correction", "../lot/motion_correction/m0.png", "motion_correction//m0.png",
                 "%2e%2e/%2e%2e/home.json", "x" * 2000):  # fmt: skip
        assert site.ask("GET", f"/sessions/1/files/{name}").status_code == 404, name


def test_a_log_is_read_in_parts(site: Any) -> None:
    task = _done(site)
    identity = site.get(f"/tasks/{task}")["identity"]
    assert site.ask("GET", f"/tasks/{task}/log").text == ""
    log = site.book.store.log_path(identity)
    log.parent.mkdir(parents=True)
    log.write_text("one\ntwo\n")
    assert site.ask("GET", f"/tasks/{task}/log").text == "one\ntwo\n"
    part = site.ask("GET", f"/tasks/{task}/log?offset=4&limit=2")
    assert (part.text, part.headers["log-next"]) == ("tw", "6")
    stream = site.ask("GET", f"/tasks/{task}/log/stream", headers={"Last-Event-ID": "4"})
    assert stream.text == 'id: 8\nevent: lines\ndata: {"lines":["two"]}\n\nevent: end\ndata: {"offset":8}\n\n'


async def _collect(find: Any, offset: int) -> list[bytes]:
    return [frame async for frame in follow_log(find, offset)]


def test_live_lines_come_whole(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr("magellon.platform.server.http.log_tail._LOOK_AGAIN", 0.0)
    path = tmp_path / "log"
    steps = iter(["one\ntw", "o\nthree", None])

    def find() -> tuple[Any, bool]:
        more = next(steps, None)
        with path.open("a") as file:
            file.write(more or "")
        return path, more is None

    frames = asyncio.run(_collect(find, 0))
    assert [frame.split(b"data: ")[1].strip() for frame in frames] == [
        b'{"lines":["one"]}', b'{"lines":["two"]}', b'{"lines":["three"]}', b'{"offset":13}',
    ]  # fmt: skip


@dataclass
class FakePreviews:
    """Makes a preview at once."""

    book: Any
    asked: list[int] = field(default_factory=list)
    done: bool = False

    async def request(self, micrograph: int) -> None:
        self.asked.append(micrograph)
        with self.book.ledger.transaction() as connection:
            number = enter_preview(connection, micrograph, PYRAMID)
            if self.done:
                row = connection.execute(select(tasks).where(tasks.c.id == number)).one()
                folder = self.book.store.path(row.identity) / "m_tiles/0"
                folder.mkdir(parents=True)
                (folder / "0_0.jpg").write_bytes(b"picture")
                connection.execute(update(tasks).where(tasks.c.id == number).values(state="completed"))
                values = {"identity": row.identity, "output": OUTPUT, "provenance": {}, "created_at": 0.0}
                connection.execute(results.insert().values(**values))


def test_tiles_are_made_on_request_and_served(site: Any, application: Any) -> None:
    previews = FakePreviews(site.book)
    application.state.services = replace(site.services, previews=previews)
    waiting = site.ask("GET", "/micrographs/1/tiles/0/0/0")
    assert (waiting.status_code, waiting.json()["state"], waiting.headers["retry-after"]) == (202, "pending", "1")
    assert site.ask("GET", "/micrographs/1/tiles").status_code == 202
    assert previews.asked == [1], "once is enough"
    assert site.ask("GET", "/micrographs/4/tiles").status_code == 404, "its motion correction failed"
    previews.done = True
    assert site.get("/micrographs/2/tiles")["levels"] == 1
    tile = site.ask("GET", "/micrographs/2/tiles/0/0/0")
    assert (tile.status_code, tile.content, tile.headers["content-type"]) == (200, b"picture", "image/jpeg")
    assert "immutable" in tile.headers["cache-control"]
    assert site.ask("GET", "/micrographs/2/tiles/0/1/0").status_code == 404
    assert site.ask("GET", "/micrographs/2/tiles/0/-1/0").status_code == 422
    with site.book.ledger.transaction() as connection:
        of_one = (tasks.c.item_id == 1) & (tasks.c.step == "preview")
        connection.execute(update(tasks).where(of_one).values(state="failed", reason="no disk"))
    assert "no disk" in site.ask("GET", "/micrographs/1/tiles").json()["detail"]
