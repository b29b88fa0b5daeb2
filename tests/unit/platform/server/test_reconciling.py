"""Which of the tasks that a worker computed is suspected when it goes away."""

from types import SimpleNamespace
from typing import Any

from magellon.platform.server.reconciling import find_suspects


def row(number: int, lost: int, worker: str = "w") -> Any:
    return SimpleNamespace(id=number, lost=lost, worker=worker, incarnation="i")


def suspects(*rows: Any) -> list[tuple[int, float]]:
    return [(found.id, delay) for found, delay in find_suspects(rows, 8.0)]


def test_nobody_knows_at_the_first_loss_and_all_go_on_at_once() -> None:
    assert suspects(row(1, 0), row(2, 0)) == [(1, 0.0), (2, 0.0)]


def test_those_that_lost_one_together_are_tried_one_after_the_other() -> None:
    assert suspects(row(1, 1), row(2, 1), row(3, 1)) == [(1, 0.0), (2, 8.0), (3, 16.0)]


def test_who_was_beside_the_usual_suspect_goes_free() -> None:
    assert suspects(row(1, 2), row(2, 1), row(3, 0)) == [(1, 0.0)]


def test_workers_are_judged_apart() -> None:
    assert suspects(row(1, 1, "a"), row(2, 0, "b"), row(3, 1, "b")) == [(1, 0.0), (3, 0.0)]
