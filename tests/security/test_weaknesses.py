"""Known weaknesses of what is installed: found where the service answers, and said to be unknown where it does not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import weaknesses
from weaknesses import NotAsked, find_weaknesses, list_versions


class Service(BaseHTTPRequestHandler):
    """Knows a weakness of one version of one package."""

    def do_POST(self) -> None:
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        bad = {"package": {"name": "weak", "ecosystem": "PyPI"}, "version": "1.0"}
        results = [{"vulns": [{"id": "PYSEC-1"}, {"id": "GHSA-2"}]} if query == bad else {} for query in queries]
        body = {"/all": {"results": results}, "/few": {"results": results[:1]}, "/odd": {"results": None}}[self.path]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def service() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_weak_versions_are_named_with_what_is_known_of_them(service: str) -> None:
    found = find_weaknesses([("strong", "1.0"), ("weak", "1.0"), ("weak", "1.1")], f"{service}/all")
    assert found == {"weak 1.0": ["PYSEC-1", "GHSA-2"]}


@pytest.mark.parametrize("path", ["/few", "/odd", "/none"])
def test_an_answer_that_is_none_is_no_clean_bill(service: str, path: str) -> None:
    if path == "/none":
        service = "http://127.0.0.1:1"
    with pytest.raises(NotAsked):
        find_weaknesses([("a", "1"), ("b", "1")], service + path)


def test_all_that_is_installed_is_asked_for(
    service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {name for name, _ in list_versions()}
    assert {"fastapi", "torch", "cryptography", "pytest"} <= names
    assert "magellon" not in names
    assert all("+" not in version for _, version in list_versions())
    monkeypatch.setattr(
        weaknesses, "find_weaknesses", lambda versions: find_weaknesses([*versions, ("weak", "1.0")], f"{service}/all")
    )
    assert weaknesses.main() == 1
    assert "weak 1.0: PYSEC-1, GHSA-2" in capsys.readouterr().out
    monkeypatch.setattr(weaknesses, "find_weaknesses", lambda versions: find_weaknesses(versions, "http://127.0.0.1:1"))
    assert weaknesses.main() == 0
    assert "NOT CHECKED" in capsys.readouterr().out
