"""Paths that lead out, names that would be commands elsewhere, and secrets where they do not belong."""

import json
import logging
import re
import time
from pathlib import Path

import pytest
from security_site import HOSTILE_NAMES, STEPS, Site, ask_raw, describe_fakes, write_movies
from sqlalchemy import select

from magellon.platform.people.redaction import redact_logs
from magellon.platform.server import requests
from magellon.platform.server.http import confinement
from magellon.platform.store.schema import audit, credentials, items, sessions, users
from people_cast import PASSWORD

ROOT = Path(__file__).parents[2]
SECRET = "the content of a file that nobody may read"

pytestmark = pytest.mark.slow

LEADING_OUT = (
    "../token",
    "../../state/token",
    "..%2f..%2fstate%2ftoken",
    "%2e%2e/%2e%2e/state/token",
    "..%252f..%252fstate%252ftoken",
    "....//....//state/token",
    "..\\..\\state\\token",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "file:///etc/passwd",
    "m.star/../../../../state/token",
    "m.star%00.png",
    ".",
    "..",
    "%00",
    "\u202e/token",
    "x" * 5000,
    "leak",
    "leak/token",
    ".hidden",
    "result.json/x",
)


@pytest.fixture(scope="module")
def secret(site: Site) -> str:
    """A file in the state, and links to it wherever a user or a backend could leave one."""
    state = site.book.home.state
    (state / "token").write_text(SECRET)
    (site.book.home.sessions / "open" / "leak").symlink_to(state / "token")
    (site.book.home.sessions / "open" / "up").symlink_to(state)
    (site.data / "leak.mrc").symlink_to(state / "token")
    (site.data / "leak").symlink_to(state)
    return SECRET


@pytest.mark.parametrize("path", LEADING_OUT)
@pytest.mark.parametrize("of", ["sessions/1/files", "tasks/1/files", "micrographs/1/tiles/0/0", "sessions/1/people", "users"])
def test_no_path_leads_out(site: Site, secret: str, of: str, path: str) -> None:
    status, body = ask_raw(site, f"/api/v1/{of}/{path}", site.headers("ada"))
    assert status in (400, 404, 405, 414, 422), body
    assert secret not in body
    assert "root:" not in body


@pytest.mark.parametrize("name", ["leak", "up/token", "up"])
def test_links_in_a_session_lead_nowhere_but_to_results(site: Site, secret: str, name: str) -> None:
    status, body = ask_raw(site, f"/api/v1/sessions/1/files/{name}", site.headers("vera"))
    assert status == 404
    assert secret not in body


@pytest.mark.parametrize(
    "path",
    [
        "{data}/../home/state/token", "{data}/leak.mrc", "{data}/leak/token", "/etc/passwd", "{data}/missing.mrc", "{data}",
        "relative.mrc", "{data}/a\x00.mrc", "~/x.mrc", "{data}/" + "x" * 300 + ".mrc", "{data}/" + "x/" * 1900 + "a.mrc", "",
    ],
)  # fmt: skip
def test_only_files_in_the_open_folders_are_attached(site: Site, secret: str, path: str) -> None:
    body = {"kind": "map", "name": "mine", "path": path.replace("{data}", str(site.data))}
    answer = site.client().post("/api/v1/sessions/1/artefacts", json=body, headers=site.headers("otto"))
    assert answer.status_code == 422, answer.text
    assert secret not in answer.text


@pytest.mark.parametrize(
    "folder", ["{data}/..", "{data}/leak", "/", "/etc", "{data}/open/../../home/state", "{data}/none", "a\x00b"]
)
def test_only_sessions_in_the_open_folders_are_imported(site: Site, secret: str, folder: str) -> None:
    body = {"folder": folder.replace("{data}", str(site.data)), "recipe": {"steps": {}}}
    answer = site.client().post("/api/v1/sessions", json=body, headers=site.headers("otto"))
    assert answer.status_code == 422, answer.text
    assert secret not in answer.text


def test_links_and_references_of_an_imported_session_that_lead_out_are_not_processed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tmp_path / "others"
    write_movies(others, ("theirs.mrc", "gain.mrc"), "others")
    folder = site.data / "linked"
    write_movies(folder, ("ours.mrc",), "linked")
    (folder / "theirs.mrc").symlink_to(others / "theirs.mrc")
    (folder / "inside.mrc").symlink_to(folder / "ours.mrc")
    ask_to_import(site, folder, monkeypatch)
    assert read_problems(site, "linked") == {
        "ours": None, "inside": None,
        "theirs": f"theirs: {folder / 'theirs.mrc'} leads out of the folders that are open to this server",
    }  # fmt: skip
    definition = {"name": "linked", "movies": "*.mrc", "pixel_size": 1, "gain": str(others / "gain.mrc")}
    (folder / "session.json").write_text(json.dumps(definition))
    ask_to_import(site, folder, monkeypatch)
    problems = read_problems(site, "linked")
    assert str(others / "gain.mrc") in str(problems["ours"])
    assert all(problems.values())
    with site.book.ledger.transaction() as connection:
        movies = connection.execute(select(items.c.movie).join(sessions).where(sessions.c.name == "linked")).scalars()
        assert all(movie["gain"] is None for movie in movies)


def ask_to_import(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (requests, confinement):
        monkeypatch.setattr(module, "read_catalogue", lambda *arguments: describe_fakes())
    recipe = {"steps": {key: {"backend": "fake"} for key in STEPS}}
    body = {"folder": str(folder), "recipe": recipe}
    answer = site.client().post("/api/v1/sessions", json=body, headers=site.headers("otto"))
    assert answer.status_code == 201, answer.text


def read_problems(site: Site, session: str) -> dict[str, str | None]:
    with site.book.ledger.transaction() as connection:
        rows = connection.execute(select(items.c.name, items.c.problem).join(sessions).where(sessions.c.name == session))
        return {row.name: row.problem for row in rows}


def test_a_link_that_is_turned_after_it_was_attached_is_not_followed(site: Site, secret: str) -> None:
    path = site.data / "turned.mrc"
    path.write_text("a map")
    client, otto = site.client(), site.headers("otto")
    made = client.post("/api/v1/sessions/1/artefacts", json={"kind": "map", "name": "turned", "path": str(path)}, headers=otto)
    number = made.json()["id"]
    assert client.get(f"/api/v1/artefacts/{number}/file", headers=otto).text == "a map"
    path.unlink()
    path.symlink_to(site.book.home.state / "token")
    answer = client.get(f"/api/v1/artefacts/{number}/file", headers=otto)
    assert answer.status_code == 404
    assert secret not in answer.text


def test_strange_names_are_names(site: Site, tmp_path: Path) -> None:
    """Imported, listed, filtered by and refused without anything being run or mixed up."""
    with site.book.ledger.reading() as connection:
        kept = set(connection.execute(select(items.c.name).where(items.c.session_id == site.open.session_id)).scalars())
    assert kept == {name.removesuffix(".mrc") for name in HOSTILE_NAMES}
    client, vera = site.client(), site.headers("vera")
    listed = client.get("/api/v1/sessions/1/micrographs?limit=1000", headers=vera)
    assert {each["name"] for each in listed.json()["items"]} == kept
    assert listed.headers["content-type"] == "application/json"
    assert listed.headers["x-content-type-options"] == "nosniff"
    assert not [path for path in (Path.cwd(), ROOT, site.data, site.book.home.root) if (path / "pwned").exists()]


@pytest.mark.parametrize(
    "value",
    [
        "' OR '1'='1",
        "'; DROP TABLE users; --",
        "%",
        "_",
        "\\",
        '"',
        "1) OR 1=1",
        "${1234567*7654321}",
        "{{1234567*7654321}}",
        "\x00",
    ],
)
def test_parameters_are_values(site: Site, value: str) -> None:
    """Whatever can be asked for by a text: no error of the server, and never more than without it."""
    client, vera = site.client(), site.headers("vera")
    for path in ("sessions", "jobs", "tasks", "sessions/1/micrographs", "sessions/1/places"):
        all_of_them = len(client.get(f"/api/v1/{path}?limit=1000", headers=vera).json()["items"])
        for name in ("name", "sort", "state", "step", "filter", "where", "cursor", "order"):
            answer = client.get(f"/api/v1/{path}", params={name: value, "limit": 1000}, headers=vera)
            assert answer.status_code in (200, 422), answer.text
            assert str(1234567 * 7654321) not in answer.text, "it was worked out"
            if answer.status_code == 200:
                assert len(answer.json()["items"]) <= all_of_them
    with site.book.ledger.reading() as connection:
        assert len(connection.execute(select(users.c.id)).all()) >= 3


def test_pages_show_markup_as_text(site: Site) -> None:
    """What is not JSON is either a picture, a text that is saved, or our own page."""
    client, vera = site.client(), site.headers("vera")
    for path in ("tasks/1/files/m.star", "sessions/1/files/m.star", "artefacts/1/file", "tasks/1/log"):
        answer = client.get(f"/api/v1/{path}", headers=vera)
        assert answer.status_code == 200, path
        assert not answer.headers["content-type"].startswith(("text/html", "image/svg", "application/x")), path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (
            "sandbox" in answer.headers["content-security-policy"]
            or "script-src 'self'" in answer.headers["content-security-policy"]
        )


def test_headers_cannot_be_split(site: Site) -> None:
    answer = site.client().get("/api/v1/sessions/1/files/a%0d%0aSet-Cookie:%20x=y", headers=site.headers("vera"))
    assert "set-cookie" not in answer.headers
    body = {"kind": "map", "name": "a\r\nSet-Cookie: x=y", "path": str(site.data / "open" / "map.mrc")}
    made = site.client().post("/api/v1/sessions/1/artefacts", json=body, headers=site.headers("otto"))
    if made.status_code == 201:
        sent = site.client().get(f"/api/v1/artefacts/{made.json()['id']}/file", headers=site.headers("otto"))
        assert "set-cookie" not in sent.headers


def test_a_session_with_strange_names_is_imported_over_http(site: Site) -> None:
    folder = site.data / "strange $(id) 'name' \"x\""
    write_movies(folder, ("a;b.mrc", "c\nd.mrc"), "strange")
    body = {"folder": str(folder), "recipe": {"steps": {"nothing": {"backend": "none"}}}}
    answer = site.client().post("/api/v1/sessions", json=body, headers=site.headers("otto"))
    assert answer.status_code in (201, 422), answer.text  # there are no real backends to plan with; it is not an error of ours


def test_no_secret_is_kept_or_told_anywhere(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """After logging in, out, wrongly and by token: not in the ledger, the state's files, the log or the audit."""
    caplog.set_level(logging.DEBUG)
    redact_logs()
    client = site.client()
    token = site.token("otto")
    client.post("/api/v1/login", json={"name": "vera", "password": PASSWORD}, headers={"X-Magellon": "1"})
    cookie = client.cookies["magellon"]
    client.post("/api/v1/logout", headers={"X-Magellon": "1"})
    client.post("/api/v1/login", json={"name": "vera", "password": "a wrong secret guess"})
    client.post("/api/v1/login", json={"token": token})
    made = client.post("/api/v1/tokens", json={"name": "x"}, headers={"X-Magellon": "1"}).json()["token"]
    with site.book.ledger.reading() as connection:
        kept = repr([connection.execute(select(table)).all() for table in (users, credentials, audit)])
    files = b"".join(path.read_bytes() for path in site.book.home.state.rglob("*") if path.is_file())
    for value in (token, cookie, made, PASSWORD, "a wrong secret guess"):
        assert value not in kept
        assert value.encode() not in files
        assert value not in caplog.text


def test_a_stolen_request_is_not_repeated_after_its_end(site: Site) -> None:
    """Replay: a cookie after logging out, a token after it was revoked, a form after the password changed."""
    client = site.client()
    client.post("/api/v1/login", json={"name": "otto", "password": PASSWORD})
    stolen = {"Cookie": f"magellon={client.cookies['magellon']}", "X-Magellon": "1"}
    made = client.post("/api/v1/tokens", json={"name": "x"}, headers={"X-Magellon": "1"}).json()["token"]
    number = client.get("/api/v1/tokens").json()[0]["id"]
    client.delete(f"/api/v1/tokens/{number}", headers={"X-Magellon": "1"})
    client.post("/api/v1/logout", headers={"X-Magellon": "1"})
    thief = site.client()
    assert thief.get("/api/v1/whoami", headers=stolen).status_code == 401
    assert thief.get("/api/v1/whoami", headers={"Authorization": f"Bearer {made}"}).status_code == 401
    assert thief.post("/api/v1/tokens", json={"name": "y"}, headers=stolen).status_code == 401


def test_a_hostile_body_costs_little(site: Site) -> None:
    client, ada = site.client(), {**site.headers("ada"), "Content-Type": "application/json"}
    bodies = [
        b"[" * 100000,
        b'{"a":' * 50000,
        b'{"name":"' + b"a" * 1000000 + b'"}',
        b"1e999999999",
        b"\xff\xfe",
        b"{",
        b"null",
        b"",
    ]
    for body in bodies:
        began = time.perf_counter()
        answer = client.post("/api/v1/users", content=body, headers=ada)
        assert answer.status_code in (400, 413, 422), answer.text
        assert len(answer.content) < 20000
        assert time.perf_counter() - began < 5.0


SOURCES = sorted((ROOT / "src" / "magellon").rglob("*.py"))


def test_no_shell_no_pickle_no_evaluation() -> None:
    """Nowhere in the sources, whatever they are for."""
    pattern = re.compile(
        r"shell\s*=\s*True|os\.system|os\.popen|create_subprocess_shell|\bpickle\b|\bmarshal\b|\bshelve\b|\beval\(|(?<![.\w])exec\("
        r"|yaml\.load\(|allow_pickle\s*=\s*True|weights_only\s*=\s*False"
    )
    found = [f"{path.relative_to(ROOT)}: {match[0]}" for path in SOURCES for match in pattern.finditer(path.read_text())]
    assert not found


def test_sql_is_never_put_together_from_values() -> None:
    """A text becomes SQL only as it stands in the source."""
    made = r"(?:f[\"']|[\"'][^\"']*[\"']\s*(?:%|\.format|\+))"
    pattern = re.compile(rf"(?:\btext|exec_driver_sql|executescript|\.execute)\(\s*{made}.*")
    speaking_sql = [path for path in SOURCES if re.search(r"sqlalchemy|sqlite3|psycopg", path.read_text())]
    found = {match[0] for path in speaking_sql for match in pattern.finditer(path.read_text())}
    assert found <= {'.execute(f"PRAGMA {pragma}")'}  # of a list in the source; SQLite takes no parameter there


def test_commands_take_no_secret_as_an_argument() -> None:
    """What stands on a command line is read by everybody on the machine."""
    pattern = re.compile(r"[\"']--(?:password|token|secret|credential)s?[\"']")
    found = [f"{path.relative_to(ROOT)}: {match[0]}" for path in SOURCES for match in pattern.finditer(path.read_text())]
    assert not found
