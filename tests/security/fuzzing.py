"""Requests that schemathesis makes of the API's description. Imported by the test that needs it alone: it takes seconds.

Each operation gets valid requests, and requests that are broken on purpose, as nobody and as each role. Numbers in addresses
are often those of the hidden session, so that a leak would show. The same requests each time.
"""

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

import httpx2
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from security_site import CANARY, Site

from magellon.platform.server.http.app import describe_app

ENDLESS = ("/api/v1/events", "/api/v1/tasks/{task_id}/log/stream")
OFTEN = settings(
    deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def send(client: TestClient, case: Case, headers: dict[str, str]) -> Any:
    """The request that a case describes, as somebody. What no client can send is skipped."""
    parts = case.as_transport_kwargs(base_url="http://localhost")
    own = {"content-type", "last-event-id", "range", "if-none-match"}
    kept = {name: value for name, value in (parts.get("headers") or {}).items() if name.lower() in own and str(value).isascii()}
    body: dict[str, Any] = {}
    if "json" in parts:
        body = {"content": json.dumps(parts["json"])}
        kept.setdefault("Content-Type", "application/json")
    elif isinstance(parts.get("data"), (bytes, str)):
        body = {"content": parts["data"]}
    try:
        return client.request(parts["method"], parts["url"], params=parts.get("params"), headers={**kept, **headers}, **body)
    except (httpx2.InvalidURL, httpx2.LocalProtocolError, UnicodeError):
        assume(False)


def try_operation(site: Site, operation: Any, name: str | None, mode: GenerationMode, examples: int) -> Counter[int]:
    """Statuses that one operation answered with."""
    client, seen = site.client(), Counter[int]()
    hidden, opened = asdict(site.hidden), asdict(site.open)

    @settings(OFTEN, max_examples=examples)
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def attempt(case: Case, data: st.DataObject) -> None:
        for parameter in case.path_parameters or {}:
            if parameter in hidden:
                own = case.path_parameters[parameter]
                case.path_parameters[parameter] = data.draw(st.sampled_from([own, hidden[parameter], opened[parameter]]))
        answer = send(client, case, site.headers(name))
        what = f"{case.method} {case.formatted_path} {answer.request.content[:500]!r} as {name}: {answer.text[:500]}"
        # 503 is said honestly of parts that do not run here: the bus, and the workers behind it.
        assert answer.status_code < 500 or answer.status_code == 503, what
        if answer.status_code >= 400 and operation.path != "/api/v1/health":
            assert answer.headers["content-type"] == "application/problem+json", what
            assert answer.json()["status"] == answer.status_code, what
        if name in (None, "vera"):
            assert CANARY not in answer.text, what
        seen[answer.status_code] += 1

    attempt()
    return seen


def try_all(site: Site, name: str | None, broken: bool, examples: int) -> Counter[int]:
    """Statuses that all operations answered with to somebody's valid, or broken, requests."""
    mode = GenerationMode.NEGATIVE if broken else GenerationMode.POSITIVE
    seen, tried = Counter[int](), 0
    for found in schemathesis.openapi.from_dict(describe_app(site.app)).get_all_operations():
        operation = found.ok()
        if operation.path in ENDLESS and name is not None:
            continue
        try:
            seen += try_operation(site, operation, name, mode, examples)
            tried += 1
        except Unsatisfiable:  # it takes nothing that could be broken
            assert mode is GenerationMode.NEGATIVE
    assert tried > 35
    return seen
