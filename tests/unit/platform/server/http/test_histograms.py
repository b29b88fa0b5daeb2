"""The database counts as Python does, and numbers come back as they were."""

import random
import statistics
from typing import Any

from sqlalchemy import delete

from magellon.platform.server.http.views.histograms import make_histograms
from magellon.platform.server.http.views.micrographs import MicrographFilter, get_micrograph
from magellon.platform.store.schema import items, metrics

BINS = 7


def enter(site: Any, values: dict[str, list[float]]) -> list[int]:
    """As the numbers of new micrographs, which have these metrics and no others."""
    number = max(map(len, values.values()))
    with site.book.ledger.transaction() as connection:
        connection.execute(delete(metrics))
        named = [{"session_id": 1, "name": f"extra{each:04d}", "movie": {}, "identity": {}} for each in range(number)]
        connection.execute(items.insert(), named)
        numbers = list(
            connection.execute(items.select().where(items.c.name.startswith("extra")).order_by(items.c.id)).scalars()
        )
        rows = [
            {"job_id": 1, "item_id": item, "name": name, "value": value}
            for name, of_name in values.items()
            for item, value in zip(numbers, of_name, strict=False)
        ]
        connection.execute(metrics.insert(), rows)
    return numbers


def count(values: list[float]) -> tuple[int, ...]:
    low, width = min(values), (max(values) - min(values)) / BINS or 1 / BINS
    counts = [0] * BINS
    for value in values:
        counts[min(int((value - low) / width), BINS - 1)] += 1
    return tuple(counts)


def test_counts_and_medians_are_those_of_python(site: Any) -> None:
    chance = random.Random(4)
    values = {
        "defocus": [chance.uniform(-500, 30000) for _ in range(301)],
        "picks": [float(chance.randrange(8)) for _ in range(200)],
        "score": [0.25] * 5,
    }
    enter(site, values)
    with site.book.ledger.reading() as connection:
        found = {each.metric: each for each in make_histograms(connection, 1, MicrographFilter(), [*values, "ice"], BINS)}
    for name, of_name in values.items():
        assert found[name].counts == count(of_name), name
        assert found[name].number == len(of_name)
        assert found[name].median == statistics.median(of_name)
        assert found[name].edges[0] == min(of_name)
    assert (found["ice"].number, found["ice"].counts, found["ice"].edges, found["ice"].median) == (0, (), (), None)


def test_a_filter_narrows_every_metric(site: Any) -> None:
    values = {"defocus": [1000.0, 2000.0, 3000.0, 4000.0], "score": [0.1, 0.2, 0.3, 0.4]}
    enter(site, values)
    wanted = MicrographFilter({"defocus": (1500.0, 3500.0)})
    with site.book.ledger.reading() as connection:
        defocus, score = make_histograms(connection, 1, wanted, ["defocus", "score"], 2)
    assert (defocus.counts, defocus.median) == ((1, 1), 2500.0)
    assert (score.counts, score.median) == ((1, 1), 0.25)


def test_numbers_come_back_to_the_last_bit(site: Any) -> None:
    value = 12034.567890123457
    assert float(f"{value:.15g}") != value
    (number,) = enter(site, {"defocus": [value], "score": [1e-17]})
    with site.book.ledger.reading() as connection:
        assert get_micrograph(connection, number).metrics == {"defocus": value, "score": 1e-17}
