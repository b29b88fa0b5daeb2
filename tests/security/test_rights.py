"""Every route asks for the right it should, and what a person may not see does not exist for them."""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import asdict

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from security_site import CANARY, Ids, Site

from magellon.platform.people.roles import Role
from magellon.platform.server.http.app import describe_app
from magellon.platform.server.http.feed import Feed
from magellon.platform.server.http.security import Require
from people_cast import CAST

RIGHTS: dict[str, Role | None] = {
    # Before anybody is known.
    "GET /api/v1/health": None,
    "GET /login": None,
    "POST /login": None,
    "POST /api/v1/login": None,
    "GET /api/v1/login/openid": None,
    "GET /api/v1/login/openid/callback": None,
    # Looking.
    "GET /openapi.json": Role.VIEWER,
    "GET /api/v1/sessions": Role.VIEWER,
    "GET /api/v1/sessions/{session_id}": Role.VIEWER,
    "GET /api/v1/sessions/{session_id}/places": Role.VIEWER,
    "GET /api/v1/sessions/{session_id}/micrographs": Role.VIEWER,
    "GET /api/v1/sessions/{session_id}/histograms": Role.VIEWER,
    "GET /api/v1/sessions/{session_id}/files/{name:path}": Role.VIEWER,
    "GET /api/v1/sessions/{session_id}/artefacts": Role.VIEWER,
    "GET /api/v1/sessions/{session_id}/live": Role.VIEWER,
    "GET /api/v1/jobs": Role.VIEWER,
    "GET /api/v1/jobs/{job_id}": Role.VIEWER,
    "GET /api/v1/tasks": Role.VIEWER,
    "GET /api/v1/tasks/{task_id}": Role.VIEWER,
    "GET /api/v1/tasks/{task_id}/log": Role.VIEWER,
    "GET /api/v1/tasks/{task_id}/log/stream": Role.VIEWER,
    "GET /api/v1/tasks/{task_id}/files": Role.VIEWER,
    "GET /api/v1/tasks/{task_id}/files/{name:path}": Role.VIEWER,
    "GET /api/v1/micrographs/{micrograph_id}": Role.VIEWER,
    "GET /api/v1/micrographs/{micrograph_id}/tiles": Role.VIEWER,
    "GET /api/v1/micrographs/{micrograph_id}/tiles/{level}/{x}/{y}": Role.VIEWER,
    "GET /api/v1/artefacts/{artefact_id}": Role.VIEWER,
    "GET /api/v1/artefacts/{artefact_id}/file": Role.VIEWER,
    "GET /api/v1/backends": Role.VIEWER,
    "GET /api/v1/events": Role.VIEWER,
    "GET /api/v1/plugins": Role.VIEWER,
    "GET /api/v1/plugins/{plugin}": Role.VIEWER,
    # Oneself.
    "POST /api/v1/logout": Role.VIEWER,
    "GET /api/v1/whoami": Role.VIEWER,
    "PUT /api/v1/whoami/password": Role.VIEWER,
    "GET /api/v1/tokens": Role.VIEWER,
    "POST /api/v1/tokens": Role.VIEWER,
    "DELETE /api/v1/tokens/{token_id}": Role.VIEWER,
    # Changing sessions and jobs.
    "POST /api/v1/sessions": Role.OPERATOR,
    "POST /api/v1/sessions/{session_id}/artefacts": Role.OPERATOR,
    "PUT /api/v1/sessions/{session_id}/live": Role.OPERATOR,
    "DELETE /api/v1/sessions/{session_id}/live": Role.OPERATOR,
    "GET /api/v1/sessions/{session_id}/people": Role.OPERATOR,
    "PUT /api/v1/sessions/{session_id}/people/{name}": Role.OPERATOR,
    "DELETE /api/v1/sessions/{session_id}/people/{name}": Role.OPERATOR,
    "GET /api/v1/users": Role.OPERATOR,
    "POST /api/v1/jobs/{job_id}/pause": Role.OPERATOR,
    "POST /api/v1/jobs/{job_id}/resume": Role.OPERATOR,
    "POST /api/v1/jobs/{job_id}/cancel": Role.OPERATOR,
    "POST /api/v1/jobs/{job_id}/retry-failed": Role.OPERATOR,
    "POST /api/v1/jobs/{job_id}/priority": Role.OPERATOR,
    "POST /api/v1/jobs/{job_id}/recipe": Role.OPERATOR,
    "POST /api/v1/tasks/{task_id}/retry": Role.OPERATOR,
    "POST /api/v1/tasks/{task_id}/cancel": Role.OPERATOR,
    "GET /api/v1/plugins/{plugin}/log": Role.OPERATOR,
    "GET /api/v1/metrics": Role.OPERATOR,
    # Changing plugins and people.
    "PUT /api/v1/plugins/{plugin}/replicas": Role.ADMIN,
    "POST /api/v1/plugins/{plugin}/start": Role.ADMIN,
    "POST /api/v1/plugins/{plugin}/stop": Role.ADMIN,
    "POST /api/v1/plugins/{plugin}/enable": Role.ADMIN,
    "POST /api/v1/plugins/{plugin}/disable": Role.ADMIN,
    "POST /api/v1/backends/{category}/{backend}/enable": Role.ADMIN,
    "POST /api/v1/backends/{category}/{backend}/disable": Role.ADMIN,
    "POST /api/v1/backends/{category}/{backend}/prefer": Role.ADMIN,
    "POST /api/v1/users": Role.ADMIN,
    "PATCH /api/v1/users/{name}": Role.ADMIN,
    "POST /api/v1/users/{name}/tokens": Role.ADMIN,
    "GET /api/v1/audit": Role.ADMIN,
}
"""What each route asks for. A route that is not here, or asks for something else, fails."""

ENDLESS = ("GET /api/v1/events", "GET /api/v1/tasks/{task_id}/log/stream")
FILLING = {
    "name": "m.star",
    "level": "0",
    "x": "0",
    "y": "0",
    "token_id": "1",
    "plugin": "p",
    "category": "fft",
    "backend": "fft",
}
BELOW_A_SESSION = [route for route in RIGHTS if re.search(r"\{(session|job|task|micrograph|artefact)_id\}", route)]
LOOKING = [route for route in BELOW_A_SESSION if route.startswith("GET ") and route not in ENDLESS]


def list_routes(app: FastAPI) -> Iterator[tuple[str, Dependant]]:
    """Every route of an app, those in routers included, also those that its description leaves out."""
    for route in app.routes:
        included = [route] if isinstance(route, APIRoute) else route.effective_route_contexts()  # type: ignore[attr-defined]
        for each in included:
            yield from ((f"{method} {each.path}", each.dependant) for method in each.methods)


def find_right(dependant: Dependant) -> Role | None:
    """The highest role that a route or anything it depends on asks for."""
    own = [dependant.call.role] if isinstance(dependant.call, Require) else []
    below = [right for each in dependant.dependencies if (right := find_right(each)) is not None]
    return max([*own, *below], default=None)


def fill(route: str, ids: Ids, **more: str) -> tuple[str, str]:
    """Method and address of a request to a route."""
    method, _, path = route.partition(" ")
    values = {**{name: str(value) for name, value in asdict(ids).items()}, **FILLING, **more}
    return method, re.sub(r"\{(\w+)(?::path)?\}", lambda match: values[match[1]], path)


def without_numbers(text: str) -> str:
    return re.sub(r"\d+", "N", text)


def test_every_route_asks_for_the_right_it_should(site: Site) -> None:
    assert {route: find_right(dependant) for route, dependant in list_routes(site.app)} == RIGHTS


@pytest.mark.parametrize("route", [route for route, right in RIGHTS.items() if right is not None])
def test_nobody_gets_in_without_a_token(site: Site, route: str) -> None:
    method, path = fill(route, site.open)
    for headers in ({}, {"Authorization": "Bearer mgl_" + "x" * 43}, {"Cookie": "magellon=mgl_" + "x" * 43, "X-Magellon": "1"}):
        answer = site.client().request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", CAST)
@pytest.mark.parametrize("route", [route for route, right in RIGHTS.items() if right is not None and right > Role.VIEWER])
def test_a_lower_role_is_refused(site: Site, route: str, name: str) -> None:
    right = RIGHTS[route]
    assert right is not None
    if CAST[name] >= right:
        return
    method, path = fill(route, site.open)
    assert site.client().request(method, path, headers=site.headers(name)).status_code == 403


@pytest.mark.parametrize("route", BELOW_A_SESSION)
def test_what_is_hidden_is_like_what_does_not_exist(site: Site, route: str) -> None:
    answers = []
    for ids in (site.hidden, Ids(*[99999] * 5)):
        method, path = fill(route, ids)
        answers.append(site.client().request(method, path, headers=site.headers("vera")))
    hidden, missing = answers
    assert hidden.status_code == missing.status_code
    assert hidden.status_code in (403, 404)
    assert without_numbers(hidden.text) == without_numbers(missing.text)
    assert CANARY not in hidden.text + str(hidden.headers)


@pytest.mark.parametrize("route", LOOKING)
def test_others_do_see_it(site: Site, route: str) -> None:
    """Or the test above would pass with routes that answer nothing to anybody."""
    method, path = fill(route, site.hidden)
    answer = site.client().request(method, path, headers=site.headers("otto"))
    if "/tiles" in route or route.endswith("/live"):  # tiles may have to be made first; it is not watched
        assert not re.search("no (micrograph|session)", answer.text)
    else:
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", ["sessions", "jobs", "tasks"])
def test_lists_leave_it_out(site: Site, path: str) -> None:
    client = site.client()
    assert CANARY in client.get(f"/api/v1/{path}?limit=1000", headers=site.headers("otto")).text
    seen = client.get(f"/api/v1/{path}?limit=1000", headers=site.headers("vera"))
    assert seen.status_code == 200
    assert CANARY not in seen.text
    assert seen.json()["items"]


@pytest.mark.slow
def test_no_filter_shows_it(site: Site) -> None:
    """Each number or text that a list can be asked for, set to what is hidden."""
    client, tried = site.client(), 0
    values = {*map(str, asdict(site.hidden).values()), CANARY, "%"}
    for path, operations in describe_app(site.app)["paths"].items():
        route, parameters = f"GET {path}", operations.get("get", {}).get("parameters", [])
        known = next((each for each in RIGHTS if each.replace(":path", "") == route), "")
        if known in ENDLESS or RIGHTS.get(known) is not Role.VIEWER:
            continue
        for parameter in parameters:
            if parameter["in"] != "query":
                continue
            for value in values:
                _, address = fill(known, site.open)
                answer = client.get(address, params={parameter["name"]: value}, headers=site.headers("vera"))
                assert answer.status_code in (200, 404, 422), answer.text
                if answer.status_code == 200:
                    assert CANARY not in answer.text, f"{address}?{parameter['name']}={value}"
                tried += 1
    assert tried > 50


def test_a_page_of_all_is_not_continued_by_who_may_not_see_it(site: Site) -> None:
    client = site.client()
    for path in ("sessions", "jobs", "tasks"):
        cursor = client.get(f"/api/v1/{path}?limit=1", headers=site.headers("otto")).json()["next"]
        while cursor:
            page = client.get(f"/api/v1/{path}?limit=1", params={"cursor": cursor}, headers=site.headers("vera")).json()
            assert CANARY not in json.dumps(page)
            cursor = page["next"]


@pytest.mark.parametrize("name", ["vera", "otto"])
def test_the_event_stream_leaves_it_out(site: Site, name: str) -> None:
    caller = site.people.recognise(site.token(name))
    assert caller is not None
    feed = Feed(site.book.ledger)

    async def read() -> str:
        running = asyncio.create_task(feed.run())
        frames = b""
        stream = feed.follow(0, lambda: site.people.list_visible(caller))
        try:
            async with asyncio.timeout(0.8):
                async for frame in stream:
                    frames += frame
        except TimeoutError:
            pass
        finally:
            await stream.aclose()
            running.cancel()
        return frames.decode()

    text = asyncio.run(read())
    assert "task" in text
    assert (CANARY in text or f'"job":{site.hidden.job_id}' in text.replace(" ", "")) == (name == "otto")


def test_rights_that_are_withdrawn_end_at_once(site: Site) -> None:
    client, path = site.client(), f"/api/v1/sessions/{site.open.session_id}"
    people = f"{path}/people/vera"
    assert client.get(path, headers=site.headers("vera")).status_code == 200
    assert client.delete(people, headers=site.headers("otto")).status_code == 204
    assert client.get(path, headers=site.headers("vera")).status_code == 404
    assert client.put(people, headers=site.headers("otto")).status_code == 204
    assert client.get(path, headers=site.headers("vera")).status_code == 200


@pytest.mark.slow
def test_methods_that_no_route_has_are_refused(site: Site) -> None:
    client, paths = site.client(), {route.partition(" ")[2] for route in RIGHTS}
    for path, method in itertools.product(sorted(paths), ("PUT", "DELETE", "PATCH", "POST", "TRACE", "CONNECT", "PROPFIND")):
        if f"{method} {path}" in RIGHTS:
            continue
        _, address = fill(f"{method} {path}", site.open)
        answer = client.request(method, address, headers={**site.headers("ada"), "Origin": "http://localhost"})
        assert answer.status_code == 405, f"{method} {address}"
