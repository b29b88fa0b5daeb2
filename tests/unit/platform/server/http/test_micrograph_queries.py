"""Micrographs are filtered, sorted and counted by the server."""

from typing import Any

import pytest
from sqlalchemy import select, update

from magellon.platform.server.metrics import METRICS, measure_output, renew_metrics
from magellon.platform.store.schema import items, metrics, places, tasks


def _names(page: Any) -> list[str]:
    return [each["name"] for each in page["items"]]


def test_numbers_are_those_of_current_results(site: Any) -> None:
    page = site.get("/sessions/1/micrographs")
    assert _names(page) == ["m0", "m1", "m2", "m3", "m4"]
    assert page["items"][0]["metrics"] == {"early_motion": 1.0, "late_motion": 1.0, "total_motion": 30.0}
    assert page["items"][3]["metrics"] == {}
    assert page["items"][3]["steps"]["motion_correction"]["state"] == "failed"
    with site.book.ledger.transaction() as connection:
        one = select(items.c.id).where(items.c.name == "m1").scalar_subquery()
        of_one = (tasks.c.item_id == one) & (tasks.c.step == "motion_correction")
        connection.execute(update(tasks).where(of_one).values(state="pending"))
        renew_metrics(site.book, connection, site.job)
        left = connection.execute(select(metrics.c.value).where(metrics.c.name == "total_motion")).scalars()
        assert sorted(left) == [20, 30]


def test_filters_and_sorting_happen_in_the_ledger(site: Any) -> None:
    assert _names(site.get("/sessions/1/micrographs?total_motion.min=15&total_motion.max=25")) == ["m2"]
    assert _names(site.get("/sessions/1/micrographs?sort=total_motion")) == ["m1", "m2", "m0", "m3", "m4"]
    assert _names(site.get("/sessions/1/micrographs?sort=-total_motion")) == ["m0", "m2", "m1", "m3", "m4"]
    assert _names(site.get("/sessions/1/micrographs?sort=-name&name=m")) == ["m4", "m3", "m2", "m1", "m0"]
    assert _names(site.get("/sessions/1/micrographs?name=%25")) == []
    assert _names(site.get("/sessions/1/micrographs?state=failed&step=motion_correction")) == ["m3"]
    for wrong in ("defocus.least=1", "defocus.min=x", "defocus.min=nan", "sort=nothing", "limit=0", "cursor=abc"):
        assert site.ask("GET", f"/sessions/1/micrographs?{wrong}").status_code == 422, wrong


@pytest.mark.parametrize("sort", ["name", "-name", "total_motion", "-total_motion"])
@pytest.mark.parametrize("limit", [1, 2])
def test_pages_hold_every_micrograph_once_in_order(site: Any, sort: str, limit: int) -> None:
    whole = _names(site.get(f"/sessions/1/micrographs?sort={sort}"))
    walked, cursor = [], ""
    while cursor is not None:
        page = site.get(f"/sessions/1/micrographs?sort={sort}&limit={limit}{cursor and '&cursor=' + cursor}")
        walked += _names(page)
        cursor = page["next"]
    assert walked == whole
    other = site.get("/sessions/1/micrographs?sort=early_motion&limit=1")["next"]
    assert site.ask("GET", f"/sessions/1/micrographs?sort={sort}&cursor={other}").status_code == 422


def test_a_place_holds_what_lies_within_it(site: Any) -> None:
    with site.book.ledger.transaction() as connection:
        for number, parent, kind in ((1, None, "square"), (2, 1, "hole"), (3, 2, "exposure"), (4, None, "square")):
            values = {"id": number, "session_id": 1, "parent_id": parent, "kind": kind, "name": str(number), "detail": {}}
            connection.execute(places.insert().values(**values))
        connection.execute(update(items).where(items.c.name == "m2").values(place_id=3))
    assert _names(site.get("/sessions/1/micrographs?place=1")) == ["m2"]
    assert _names(site.get("/sessions/1/micrographs?place=4")) == []
    assert [each["id"] for each in site.get("/sessions/1/places?kind=square")["items"]] == [1, 4]
    assert [each["kind"] for each in site.get("/sessions/1/places?parent=1")["items"]] == ["hole"]


def test_histograms_count_every_micrograph_once(site: Any) -> None:
    (found,) = site.get("/sessions/1/histograms?metric=total_motion&bins=4")["items"]
    assert (found["counts"], found["number"], found["median"], found["unit"]) == ([1, 0, 1, 1], 3, 20.0, "Å")
    assert (found["edges"][0], found["edges"][-1]) == (10.0, 30.0)
    (narrowed,) = site.get("/sessions/1/histograms?metric=total_motion&total_motion.max=12")["items"]
    assert (narrowed["number"], sum(narrowed["counts"])) == (1, 1)
    assert len(site.get("/sessions/1/histograms")["items"]) == len(METRICS)
    assert site.ask("GET", "/sessions/1/histograms?metric=x").status_code == 422


def test_what_is_measured_of_each_contract() -> None:
    ctf = {"defocus_u": 12000.0, "defocus_v": 10000.0, "resolution": 4.0, "score": 0.3, "phase_shift": 0.0}
    assert measure_output("ctf_estimation", {"ctf": ctf}) == {
        "defocus": 11000.0, "astigmatism": 2000.0, "resolution": 4.0, "score": 0.3, "phase_shift": 0.0,
    }  # fmt: skip
    assert measure_output("particle_picking", {"picks": {"count": 7}}) == {"picks": 7.0}
    assert measure_output("fft", {"picture": "x.png"}) == {}
