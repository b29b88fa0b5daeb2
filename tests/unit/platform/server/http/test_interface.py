"""The interface as a whole: its description, its errors, its paging."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magellon.errors import BadInput
from magellon.platform.server.http.paging import make_page, read_cursor, write_cursor


def test_the_description_is_whole_and_its_names_are_stable(site: Any) -> None:
    document = site.client.get("/openapi.json", headers={"Authorization": f"Bearer {site.tokens['viewer']}"}).json()
    assert document["openapi"].startswith("3.1")
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert {"list_sessions", "create_session", "retry_failed_tasks", "change_job_recipe", "stream_events", "get_tile"} <= {
        *names
    }
    for operation in operations:
        assert operation.get("summary"), operation
        assert operation.get("description"), operation["operationId"]
        assert operation["responses"]["default"]["content"]["application/problem+json"], operation["operationId"]
    assert "Problem" in document["components"]["schemas"]
    assert site.client.get("/openapi.json").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "where"),
    [
        ("GET", "/tasks?limit=0", None, 422, "query.limit"),
        ("GET", "/tasks?state=nothing", None, 422, "query.state.0"),
        ("GET", "/tasks/zero", None, 422, "path.task_id"),
        ("GET", "/tasks/99999999999999999999", None, 422, "path.task_id"),
        ("POST", "/jobs/1/priority", {"priority": 5000}, 422, "body.priority"),
        ("POST", "/sessions", {"folder": "/x", "surprise": 1}, 422, "body.surprise"),
        ("GET", "/nothing", None, 404, None),
        ("DELETE", "/jobs/1", None, 405, None),
    ],
)
def test_every_error_is_a_problem(site: Any, method: str, path: str, body: Any, status: int, where: str | None) -> None:
    answer = site.ask(method, path, json=body)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert [error["where"] for error in problem["errors"]] == ([where] if where else [])


def test_a_defect_is_a_problem_without_its_inside(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret path")

    monkeypatch.setattr("magellon.platform.server.http.routes.tasks.views.get_task", fail)
    answer = site.ask("GET", "/tasks/1")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text


_VALUES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**6)), unique_by=lambda pair: pair[1], max_size=40)


@settings(max_examples=40)
@given(_VALUES, st.integers(1, 7))
def test_pages_join_to_the_list(values: list[tuple[int, int]], limit: int) -> None:
    rows = sorted(values)
    walked, cursor = [], None
    while True:
        position = read_cursor("order", cursor, [int, int])
        left = [row for row in rows if position is None or row > position]
        page = make_page("order", left[: limit + 1], limit, lambda row: row)
        walked += page.items
        cursor = page.next
        if cursor is None:
            break
        assert len(page.items) == limit
    assert walked == rows


@settings(max_examples=40)
@given(st.one_of(st.text(max_size=60), st.binary(max_size=40).map(lambda data: data.hex())))
def test_a_cursor_of_somebody_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="cursor"):
        read_cursor("order", text, [int])


def test_a_cursor_belongs_to_one_order() -> None:
    cursor = write_cursor("order", (5,))
    assert read_cursor("order", cursor, [int]) == (5,)
    for order, kinds in (("other", [int]), ("order", [str]), ("order", [int, int])):
        with pytest.raises(BadInput, match="cursor"):
            read_cursor(order, cursor, kinds)
