"""Places in the ledger: hierarchy, pictures as rooted paths, movies that point at their exposure, repetition."""

from pathlib import Path
from typing import Any

from sqlalchemy import Row, select

from magellon.platform.server.placing import enter_places, read_known_groups
from magellon.platform.sessions.places import Place, Shot
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import items, places, sessions

FOUND = [
    Place(kind="exposure", name="m1", parent="h", x=1.0, shot=Shot(optics_group="s_1", applied_defocus=15000)),
    Place(kind="exposure", name="m2", parent="nowhere"),
    Place(kind="hole", name="h", parent="q", image=Path("/data/s/h.jpg")),
    Place(kind="square", name="q", parent="q"),
    Place(kind="atlas", name="q"),
]


def open_ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger.at(tmp_path / "ledger.db")
    ledger.migrate()
    with ledger.transaction() as connection:
        connection.execute(sessions.insert().values(id=1, name="s", folder="/data/s", definition={}))
        for name in ("m1", "m2", "m3"):
            connection.execute(items.insert().values(session_id=1, name=name, movie={}, identity={}))
    return ledger


def enter(ledger: Ledger, found: list[Place]) -> dict[tuple[str, str], Row[Any]]:
    with ledger.transaction() as connection:
        enter_places(connection, 1, found, lambda path: f"s:{path.relative_to('/data/s')}")
        return {(row.kind, row.name): row for row in connection.execute(select(places))}


def test_hierarchy_and_movies(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    rows = enter(ledger, FOUND)
    assert rows["exposure", "m1"].parent_id == rows["hole", "h"].id
    assert rows["hole", "h"].parent_id == rows["square", "q"].id
    assert rows["square", "q"].parent_id == rows["atlas", "q"].id
    assert rows["exposure", "m2"].parent_id is None
    assert rows["hole", "h"].detail == {"image": "s:h.jpg"}
    assert rows["exposure", "m1"].detail == {"x": 1.0, "shot": {"optics_group": "s_1", "applied_defocus": 15000.0}}
    with ledger.transaction() as connection:
        pointed = {row.name: row.place_id for row in connection.execute(select(items))}
        assert read_known_groups(connection, Path("/data/s")) == {"m1": "s_1"}
        assert read_known_groups(connection, Path("/data/other")) == {}
    assert pointed == {"m1": rows["exposure", "m1"].id, "m2": rows["exposure", "m2"].id, "m3": None}
    ledger.close()


def test_repeated_and_changed_places_keep_their_numbers_and_none_is_deleted(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    first = enter(ledger, FOUND)
    assert enter(ledger, FOUND) == first
    moved = enter(ledger, [Place(kind="hole", name="h", parent="q", x=2.0)])
    assert moved["hole", "h"].id == first["hole", "h"].id
    assert (moved["hole", "h"].detail, moved["hole", "h"].parent_id) == ({"x": 2.0}, first["square", "q"].id)
    assert moved.keys() == first.keys()
    ledger.close()
