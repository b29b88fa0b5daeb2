"""Picks of earlier steps, matched with their micrographs by name."""

import glob
import json
from collections.abc import Sequence
from pathlib import Path

from magellon.cli.run.micrographs import Found
from magellon.cli.run.request import Beside
from magellon.contracts import Picks
from magellon.errors import BadInput
from magellon.io.star import StarTable, read_star

SUFFIX = "_autopick.star"


def find_picks(micrographs: Sequence[Found], beside: Beside) -> dict[str, Picks]:
    """Micrograph name > its picks. A micrograph without a file of picks is left out: nothing was picked on it.

    Looked for where `beside.picks` says (a folder, or a pattern such as `picks/*_autopick.star`), otherwise beside the
    micrograph, beside the STAR file that names it, and in `particle_picking` beside either, as in a session folder.

    Raises:
        BadInput: no picks at all, nothing where they are said to be, or picks that do not say the particle's diameter.
    """
    given = _expand(beside.picks) if beside.picks is not None else None
    result = {}
    for found in micrographs:
        name = found.micrograph.name
        path = given.get(name) if given is not None else _look_around(name, found)
        if path is not None:
            result[name] = read_picks(path, name, beside.diameter)
    if not result:
        where = f"in {beside.picks}" if beside.picks else f"beside {micrographs[0].micrograph.path}"
        raise BadInput(f"no picks for any micrograph: no NAME{SUFFIX} {where}; say where they are with --picks")
    return result


def _expand(pattern: str) -> dict[str, Path]:
    folder = Path(pattern).expanduser()
    paths = sorted(folder.glob(f"*{SUFFIX}") if folder.is_dir() else map(Path, glob.glob(str(folder))))
    if not paths and not folder.is_dir():
        raise BadInput(f"--picks: {pattern} is no folder, and no file is called so")
    return {_micrograph_of(path): path.absolute() for path in paths}


def _micrograph_of(path: Path) -> str:
    name = path.name.removesuffix(".star")
    for suffix in ("_autopick", "_manualpick", "_picks", "_extract"):
        name = name.removesuffix(suffix)
    return name


def _look_around(name: str, found: Found) -> Path | None:
    folders = [found.micrograph.path.parent, found.folder]
    for folder in [*folders, *(each / "particle_picking" for each in (*folders, found.micrograph.path.parent.parent))]:
        path = folder / f"{name}{SUFFIX}"
        if path.exists():
            return path
    return None


def read_picks(path: Path, name: str, diameter: float | None) -> Picks:
    """One file of picks, made by us or by another program.

    Raises:
        BadInput: no coordinates in it, or nobody says how large the particle is.
    """
    tables = read_star(path)
    coordinates = [table for table in tables.values() if "rlnCoordinateX" in table]
    if not coordinates:
        raise BadInput(f"{path}: no table with rlnCoordinateX")
    found = diameter or _diameter_in(list(tables.values())) or _diameter_beside(path, name)
    if found is None:
        raise BadInput(f"{path}: does not say how large the particle is; say it with --diameter (in Å)")
    return Picks(path=path.absolute(), count=coordinates[0].rows, diameter=found)


def _diameter_in(tables: Sequence[StarTable]) -> float | None:
    values = [value for table in tables if "rlnParticleDiameter" in table for value in table.floats("rlnParticleDiameter")[:1]]
    return values[0] if values else None


def _diameter_beside(path: Path, name: str) -> float | None:
    """As `magellon run particle_picking` noted it."""
    note = path.parent / "particle_picking.json"
    if not note.exists():
        return None
    item = json.loads(note.read_text()).get("items", {}).get(name)
    return float(item["picks"]["diameter"]) if item else None
