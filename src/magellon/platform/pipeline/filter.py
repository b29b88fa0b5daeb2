"""The quality filter: which micrographs are held back before picking, and why."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from magellon.contracts import Record
from magellon.units import Angstrom

PositiveAngstrom = Annotated[Angstrom, Field(gt=0)]


class Thresholds(Record):
    """A micrograph passes when it meets all that are given."""

    min_score: Annotated[float, Field(ge=-1, le=1)] | None = None
    """CTF score at least this."""
    max_resolution: PositiveAngstrom | None = None
    """Thon rings fitted at least to this resolution."""
    min_defocus: Angstrom | None = None
    """Mean of U and V, positive = underfocus."""
    max_defocus: Angstrom | None = None
    max_astigmatism: PositiveAngstrom | None = None
    """U - V."""
    max_ice: Annotated[float, Field(ge=0)] | None = None
    """Power of the ice ring about 3.7 Å above its surroundings, as a fraction of them."""
    max_total_motion: PositiveAngstrom | None = None
    """Summed |step| of the global track."""


def judge_micrograph(
    thresholds: Thresholds, ctf: Mapping[str, Any] | None, motion: Mapping[str, Any] | None
) -> tuple[str, ...]:
    """Why a micrograph is held back; empty when it passes. A measure that its recipe does not make is not asked for.

    `ctf` is the plain data of a `CtfOutput`, `motion` of a `MotionOutput`.
    """
    measures: list[tuple[str, float | None, float | None, float | None, str]] = []
    if ctf is not None:
        fit = ctf["ctf"]
        measures += [
            ("CTF score", fit["score"], thresholds.min_score, None, ""),
            ("CTF fit resolution", fit["resolution"], None, thresholds.max_resolution, " Å"),
            ("defocus", (fit["defocus_u"] + fit["defocus_v"]) / 2, thresholds.min_defocus, thresholds.max_defocus, " Å"),
            ("ice ring", ctf.get("ice"), None, thresholds.max_ice, ""),
            ("astigmatism", fit["defocus_u"] - fit["defocus_v"], None, thresholds.max_astigmatism, " Å"),
        ]
    if motion is not None:
        measures.append(("total motion", motion["total_motion"], None, thresholds.max_total_motion, " Å"))
    reasons = []
    for name, value, least, most, unit in measures:
        if value is None:
            continue
        if least is not None and value < least:
            reasons.append(f"{name} {value:.5g}{unit}, at least {least:g}{unit} wanted")
        if most is not None and value > most:
            reasons.append(f"{name} {value:.5g}{unit}, at most {most:g}{unit} wanted")
    return tuple(reasons)
