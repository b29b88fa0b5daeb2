"""The states people are shown, made of those the ledger keeps."""

from enum import StrEnum

from sqlalchemy import ColumnElement, and_, case, or_

from magellon.platform.store.schema import tasks


class ShownState(StrEnum):
    """State of a task."""

    PENDING = "pending"
    """Waits for an earlier step or for a worker."""
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    HELD = "held"
    """Kept back by the filter, or because a step it needs did not complete; `reason` says which."""
    OUTDATED = "outdated"
    """There is a result, of other settings; it will be made again."""


_open = tasks.c.state.in_(("waiting", "pending"))
_outdated = and_(_open, tasks.c.former.is_not(None))

shown_state: ColumnElement[str] = case(
    (_outdated, ShownState.OUTDATED.value),
    (_open, ShownState.PENDING.value),
    (tasks.c.state == "skipped", ShownState.HELD.value),
    else_=tasks.c.state,
)
"""As a column of a query on tasks."""


def is_shown_as(state: ShownState) -> ColumnElement[bool]:
    """The condition for tasks to be shown in a state, in a form that indexes serve."""
    if state is ShownState.OUTDATED:
        return _outdated
    if state is ShownState.PENDING:
        return and_(_open, tasks.c.former.is_(None))
    if state is ShownState.HELD:
        return tasks.c.state.in_(("held", "skipped"))
    return tasks.c.state == state.value


def is_any_of(states: "list[ShownState]") -> ColumnElement[bool]:
    return or_(*(is_shown_as(state) for state in states))
