"""Places on the grid come into the ledger. They are added and brought up to date, never deleted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from magellon.platform.pipeline.plan import MOVIE
from magellon.platform.sessions.places import KINDS, Kind, Place, find_parent
from magellon.platform.store.schema import items, places, sessions


def enter_places(connection: Connection, session_id: int, found: list[Place], express: Callable[[Path], str]) -> None:
    """Enter or update places, those above first, and point each movie at its exposure.

    Args:
        express: the rooted form of a picture's path.
    """
    ids: dict[tuple[str, str], int] = {}
    known = {(row.kind, row.name): row for row in connection.execute(select(places).where(places.c.session_id == session_id))}
    names: dict[Kind, set[str]] = {kind: {name for each, name in known if each == kind} for kind in KINDS}
    for place in found:
        names[place.kind].add(place.name)
    for kind in KINDS:
        rows = []
        changed = []
        for place in {place.name: place for place in found if place.kind == kind}.values():
            parent = find_parent(place, names)
            detail = _describe(place, express)
            parent_id = ids.get(parent) if parent else None
            row = known.get((kind, place.name))
            if row is None:
                values = {"session_id": session_id, "kind": kind, "name": place.name}
                rows.append({**values, "parent_id": parent_id, "detail": detail})
            elif (row.parent_id, row.detail) != (parent_id, detail):
                changed.append({"key": row.id, "parent_id": parent_id, "detail": detail})
        if rows:
            connection.execute(insert(places), rows)
        if changed:
            connection.execute(update(places).where(places.c.id == bindparam("key")), changed)
        entered = select(places.c.id, places.c.name).where(places.c.session_id == session_id, places.c.kind == kind)
        ids.update({(kind, row.name): row.id for row in connection.execute(entered)})
    _point_items(connection, session_id, ids)


def _describe(place: Place, express: Callable[[Path], str]) -> dict[str, Any]:
    rooted = place.map_paths(lambda path: Path(express(path)))
    return rooted.model_dump(mode="json", exclude={"kind", "name", "parent"}, exclude_none=True, exclude_defaults=True)


def _point_items(connection: Connection, session_id: int, ids: dict[tuple[str, str], int]) -> None:
    movies = (items.c.session_id == session_id) & (items.c.kind == MOVIE)
    listed = connection.execute(select(items.c.id, items.c.name, items.c.place_id).where(movies))
    moved = [
        {"key": row.id, "place_id": place}
        for row in listed
        if (place := ids.get(("exposure", row.name))) is not None and place != row.place_id
    ]
    if moved:
        connection.execute(update(items).where(items.c.id == bindparam("key")), moved)


def read_known_groups(connection: Connection, folder: Path) -> dict[str, str]:
    """Movie > optics group of the session in a folder, for movies whose metadata told it: in a growing session they stay so."""
    rows = connection.execute(
        select(items.c.name, places.c.detail)
        .join(places, items.c.place_id == places.c.id)
        .join(sessions, items.c.session_id == sessions.c.id)
        .where(sessions.c.folder == str(folder))
    )
    found = {row.name: (row.detail.get("shot") or {}).get("optics_group") for row in rows}
    return {name: group for name, group in found.items() if group}
