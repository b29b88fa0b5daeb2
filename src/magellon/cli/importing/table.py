"""What a session's folder holds, in a table for people and as plain data for programs."""

from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import Any

from magellon.cli.console import console, make_table
from magellon.platform.sessions.found import FoundSession
from magellon.platform.sessions.places import KINDS

MOST_PROBLEMS = 20
MOST_GROUPS = 12


def describe_session(found: FoundSession) -> dict[str, Any]:
    """Everything the table says, and more."""
    movies = [movie for movie in found.movies if movie.problem is None]
    gains = {movie.movie.gain for movie in movies}
    return {
        "name": found.session.name,
        "folder": str(found.folder),
        "source": found.source,
        "reason": found.reason,
        "movies": len(found.movies),
        "described": sum(movie.described for movie in found.movies),
        "pixel_sizes": _count(round(movie.movie.pixel_size, 5) for movie in movies),
        "voltages": _count(movie.movie.optics.voltage for movie in movies),
        "spherical_aberrations": _count(movie.movie.optics.spherical_aberration for movie in movies),
        "detectors": _count(movie.shot.detector for movie in movies if movie.shot and movie.shot.detector),
        "exposure_per_frame": _spread([movie.movie.exposure_per_frame for movie in movies]),
        "exposure": _spread([movie.exposure for movie in movies]),
        "applied_defocus": _spread([movie.shot.applied_defocus if movie.shot else None for movie in movies]),
        "optics_groups": _count(movie.movie.optics.group for movie in movies),
        "gains": sorted(str(gain.path) for gain in gains if gain),
        "defects": sorted({str(movie.movie.defects) for movie in movies if movie.movie.defects}),
        "places": {kind: sum(place.kind == kind for place in found.places) for kind in KINDS},
        "images": _count(image.kind for image in found.images),
        "problems": found.problems,
        "movie_problems": {movie.movie.name: movie.problem for movie in found.movies if movie.problem},
    }


def print_session(found: FoundSession) -> None:
    """One line for each thing, and the problems below."""
    said = describe_session(found)
    table = make_table("session", said["name"])
    rows = [
        ("source", f"{said['source']}: {said['reason']}"),
        ("movies", _movies(said)),
        ("detector", _list(said["detectors"], "")),
        ("pixel size", _list(said["pixel_sizes"], " Å/px")),
        ("voltage, Cs", _microscope(said)),
        ("exposure per frame", _range(said["exposure_per_frame"], "e/Å²")),
        ("exposure per movie", _range(said["exposure"], "e/Å²")),
        ("applied defocus", _range(said["applied_defocus"], "Å")),
        ("optics groups", _groups(said["optics_groups"])),
        ("gain", ", ".join(said["gains"]) or "none"),
        ("defects", ", ".join(said["defects"]) or "none"),
        ("places", _kinds(said["places"])),
        ("pictures of the grid", f"of {_kinds(said['images'])}" if said["images"] else ""),
    ]
    for name, text in rows:
        if text:
            table.add_row(name, text)
    console.print(table, markup=False)
    problems = [*said["problems"], *said["movie_problems"].values()]
    if problems:
        console.print("\nProblems:", style="bold")
        for problem in problems[:MOST_PROBLEMS]:
            console.print(f"  {problem}", markup=False, soft_wrap=True)
        if len(problems) > MOST_PROBLEMS:
            console.print(f"  and {len(problems) - MOST_PROBLEMS} more; --json lists all")


def _movies(said: dict[str, Any]) -> str:
    parts = [str(said["movies"])]
    if said["source"] not in ("plain", "session.json") and said["described"] < said["movies"]:
        parts.append(f"{said['movies'] - said['described']} without metadata")
    if said["movie_problems"]:
        parts.append(f"{len(said['movie_problems'])} with problems")
    return ", ".join(parts)


def _microscope(said: dict[str, Any]) -> str:
    """Nothing when no movie can be processed."""
    return ", ".join(filter(None, (_list(said["voltages"], " kV"), _list(said["spherical_aberrations"], " mm"))))


def _count(values: Iterable[Any]) -> dict[str, int]:
    counts = Counter(values)
    return {str(value): counts[value] for value in sorted(counts, key=lambda value: (-counts[value], str(value)))}


def _kinds(counts: dict[str, int]) -> str:
    return ", ".join(
        f"{number} {kind}{'es' if kind.endswith('s') else 's'}" if number > 1 else f"1 {kind}"
        for kind, number in counts.items()
        if number
    )


def _list(counts: dict[str, int], unit: str) -> str:
    if len(counts) == 1:
        return f"{next(iter(counts))}{unit}"
    return ", ".join(f"{value}{unit} ({number} movies)" for value, number in counts.items())


def _groups(counts: dict[str, int]) -> str:
    if len(counts) < 2:
        return str(len(counts))
    numbers = ", ".join(str(number) for number in list(counts.values())[:MOST_GROUPS])
    return f"{len(counts)}, of {numbers}{', ...' * (len(counts) > MOST_GROUPS)} movies"


def _spread(values: list[float | None]) -> dict[str, float] | None:
    """Least, median and most of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"least": min(known), "median": median(known), "most": max(known), "unknown": len(values) - len(known)}


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _range(spread: dict[str, float] | None, unit: str) -> str:
    if spread is None:
        return "unknown"
    least, middle, most = (_number(spread[name]) for name in ("least", "median", "most"))
    text = f"{least} {unit}" if least == most else f"{least} to {most} {unit}, median {middle}"
    return text + (f", unknown for {spread['unknown']:.0f}" if spread["unknown"] else "")
