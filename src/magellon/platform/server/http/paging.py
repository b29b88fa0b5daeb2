"""Cursor paging: a page ends where the next one begins, whatever is added or removed in between."""

import base64
import binascii
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query, Response
from pydantic import BaseModel, Field

from magellon.errors import BadInput

LARGEST_PAGE = 1000
Item = TypeVar("Item")
Position = tuple[Any, ...]
"""Sort values of the last row of a page; the last one, an id, makes it unique."""


class Page(BaseModel, Generic[Item]):
    """A part of a list."""

    items: list[Item]
    next: str | None = Field(None, description="Give it as `cursor` for what follows; null at the end.", examples=[None])


def send_record(record: BaseModel) -> Response:
    """A record as the answer, as it is: for long lists, which the framework would copy and check once more."""
    return Response(record.model_dump_json(), media_type="application/json")


@dataclass(frozen=True)
class Paging:
    """Which part of a list."""

    limit: int = 100
    cursor: str | None = None


def ask_paging(
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Most items of the page.")] = 100,
    cursor: Annotated[
        str | None, Query(max_length=2000, description="`next` of the page before, with the same filters and sorting.")
    ] = None,
) -> Paging:
    return Paging(limit, cursor)


Pages = Annotated[Paging, Depends(ask_paging)]


def write_cursor(order: str, position: Position) -> str:
    """A position in a list of some order, as text for an address."""
    return base64.urlsafe_b64encode(json.dumps([order, *position]).encode()).decode().rstrip("=")


def read_cursor(order: str, cursor: str | None, kinds: Sequence[type]) -> Position | None:
    """The position, checked to be one of this order; None for the start.

    Raises:
        BadInput: it is no cursor of this list.
    """
    if cursor is None:
        return None
    try:
        found, *position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise BadInput("cursor: not one that this server gave") from None
    fits = len(position) == len(kinds) and all(map(_fits, position, kinds))
    if found != order or not fits:
        raise BadInput(f"cursor: of a list in another order than {order}")
    return tuple(position)


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return type(value) is int and 0 <= value < 2**31
    return isinstance(value, kind) and "\0" not in str(value)


def make_page(order: str, rows: Sequence[Item], limit: int, position: Callable[[Item], Position]) -> Page[Item]:
    """A page from up to `limit` + 1 rows; `position(row)` gives the sort values of a row."""
    more = len(rows) > limit
    shown = list(rows[:limit])
    return Page(items=shown, next=write_cursor(order, position(shown[-1])) if more else None)
