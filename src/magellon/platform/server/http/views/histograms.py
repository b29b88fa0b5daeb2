"""How the numbers of a session's micrographs are distributed, counted by the database."""

from collections.abc import Mapping, Sequence

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, case, func, literal, select, union_all

from magellon.platform.server.http.views.micrographs import MicrographFilter, find_job, make_conditions
from magellon.platform.server.http.views.view import View
from magellon.platform.server.metrics import METRICS
from magellon.platform.store.expressions import whole_part
from magellon.platform.store.schema import items, metrics

MOST_BINS = 200


class Histogram(View):
    """How a metric is distributed."""

    metric: str = Field(examples=["defocus"])
    unit: str = Field(examples=["Å"])
    meaning: str
    number: int
    """Micrographs that have it."""
    edges: tuple[float, ...]
    """One more than counts."""
    counts: tuple[int, ...]
    median: float | None


def make_histograms(
    connection: Connection, session_id: int, wanted: MicrographFilter, names: Sequence[str], bins: int
) -> list[Histogram]:
    """One for each metric that any micrograph has; bins of equal width from the least to the most."""
    job = find_job(connection, session_id)
    conditions = make_conditions(connection, session_id, job, wanted)
    counted = [metrics.c.job_id == job, metrics.c.name.in_(names)]
    if wanted != MicrographFilter():
        counted.append(metrics.c.item_id.in_(select(items.c.id).where(*conditions)))
    of_value = (func.count(), func.min(metrics.c.value), func.max(metrics.c.value))
    extent = select(metrics.c.name, *of_value).where(*counted).group_by(metrics.c.name)
    extents = {name: (number, low, high) for name, number, low, high in connection.execute(extent).all()}
    counts = _count(connection, counted, extents, bins)
    medians = _find_medians(connection, counted, extents)
    found = []
    for name in names:
        unit, meaning = METRICS[name]
        number, low, high = extents.get(name, (0, 0.0, 0.0))
        width = _find_width(low, high, bins)
        edges = tuple(low + width * edge for edge in range(bins + 1)) if number else ()
        found.append(
            Histogram(
                metric=name, unit=unit, meaning=meaning, number=number, edges=edges, counts=counts.get(name, ()),
                median=medians.get(name),
            )
        )  # fmt: skip
    return found


def _find_width(low: float, high: float, bins: int) -> float:
    return (high - low) / bins or 1.0 / bins


Extents = Mapping[str, tuple[int, float, float]]
"""Of each metric: how many have it, the least, the most."""


def _count(
    connection: Connection, counted: Sequence[ColumnElement[bool]], extents: Extents, bins: int
) -> dict[str, tuple[int, ...]]:
    if not extents:
        return {}
    low = case({name: low for name, (_, low, _) in extents.items()}, value=metrics.c.name)
    width = case({name: _find_width(low, high, bins) for name, (_, low, high) in extents.items()}, value=metrics.c.name)
    number = whole_part((metrics.c.value - low) / width).label("bin")
    query = select(metrics.c.name, number, func.count()).where(*counted).group_by(metrics.c.name, number)
    found = {name: [0] * bins for name in extents}
    for name, place, count in connection.execute(query).all():
        found[name][min(place, bins - 1)] += count
    return {name: tuple(counts) for name, counts in found.items()}


def _find_medians(connection: Connection, counted: Sequence[ColumnElement[bool]], extents: Extents) -> dict[str, float]:
    """The value in the middle, or the mean of the two there; along the index of each metric."""
    if not extents:
        return {}
    parts = []
    for name, (number, _, _) in extents.items():
        ordered = select(metrics.c.value).where(*counted, metrics.c.name == name).order_by(metrics.c.value)
        middle = ordered.offset((number - 1) // 2).limit(2 - number % 2).subquery()
        parts.append(select(literal(name), middle.c.value))
    found: dict[str, list[float]] = {}
    for name, value in connection.execute(union_all(*parts)).all():
        found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}
