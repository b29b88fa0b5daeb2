"""Files are sent as they are, in parts if wanted, and never from elsewhere."""

from typing import Any

import pytest

from magellon.platform.server.http.log_tail import follow_log


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
    log = site.book.home.logs / f"{identity}.log"
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
