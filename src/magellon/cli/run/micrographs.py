"""From MRC files and RELION's STAR files to micrographs, with the CTF and spectra of earlier steps."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from magellon.cli.acquisition import OpticsOptions
from magellon.cli.problems import naming
from magellon.cli.run.damaged import SetAside, Unreadable
from magellon.cli.run.movies import make_optics
from magellon.cli.run.names import name_micrograph
from magellon.contracts import Ctf, Micrograph, Optics
from magellon.errors import BadInput
from magellon.io.mrc_header import read_mrc_header
from magellon.io.star import StarTable, read_star


@dataclass(frozen=True)
class Found:
    """A micrograph and what is known of it."""

    micrograph: Micrograph
    unweighted: Micrograph
    """For CTF estimation; the same where there is only one."""
    ctf: Ctf | None = None
    group_spectrum: Path | None = None
    folder: Path = Path()
    """Where its STAR file lies, or itself: later results are looked for there."""


def find_micrographs(files: Sequence[Path], options: OpticsOptions, ctf_star: Path | None, aside: SetAside) -> list[Found]:
    """The micrographs of all files: an MRC file is one, a STAR file lists many. Unreadable ones are set aside.

    Raises:
        BadInput: a file that is neither, a STAR file without micrographs, a missing pixel size, or one name twice.
    """
    fits = {name_micrograph(found.micrograph.path): found.ctf for found in _read_ctf_star(ctf_star, options)}
    result: list[Found] = []
    for file in files:
        if file.suffix.lower() == ".star":
            result += read_micrograph_star(file, options, aside)
        else:
            result += aside.attempt(name_micrograph(file), partial(_from_mrc, file, options))
    seen: dict[str, Path] = {}
    for index, found in enumerate(result):
        name = found.micrograph.name
        if name in seen:
            raise BadInput(f"two micrographs are called {name}: {seen[name]} and {found.micrograph.path}")
        seen[name] = found.micrograph.path
        if found.ctf is None and fits.get(name) is not None:
            result[index] = Found(found.micrograph, found.unweighted, fits[name], found.group_spectrum, found.folder)
    return result


def _read_ctf_star(ctf_star: Path | None, options: OpticsOptions) -> Iterable[Found]:
    return read_micrograph_star(ctf_star, options, SetAside()) if ctf_star else ()


def _from_mrc(path: Path, options: OpticsOptions) -> Found:
    micrograph = _make_micrograph(path, name_micrograph(path), options.pixel_size, make_optics(options))
    return Found(micrograph, micrograph, group_spectrum=find_group_spectrum(micrograph), folder=path.parent)


def find_group_spectrum(micrograph: Micrograph) -> Path | None:
    """The sum of the power spectra of the movie's parts, which our motion correction leaves beside the micrograph."""
    path = micrograph.path.with_name(f"{micrograph.name}_PS.mrc")
    return path if path.exists() else None


def _make_micrograph(path: Path, name: str, pixel_size: float | None, optics: Optics) -> Micrograph:
    try:
        header = read_mrc_header(path)
    except BadInput as error:
        raise Unreadable(str(error)) from error
    size = pixel_size or header.pixel_size
    if size is None:
        raise BadInput(f"{path}: the header gives no pixel size; say it with --pixel-size")
    with naming(path):
        return Micrograph(name=name, path=path.absolute(), pixel_size=size, shape=(header.height, header.width), optics=optics)


def read_micrograph_star(path: Path, options: OpticsOptions, aside: SetAside) -> list[Found]:
    """The rows of `corrected_micrographs.star` or `micrographs_ctf.star`, of RELION 2 to 5.

    Raises:
        BadInput: no micrographs in it.
    """
    tables = read_star(path)
    table = tables.get("micrographs") or tables.get("")
    if table is None or "rlnMicrographName" not in table:
        raise BadInput(f"{path}: lists no micrographs (no rlnMicrographName); there are {', '.join(tables) or 'no blocks'}")
    optics = _read_optics(tables.get("optics"))
    found: list[Found] = []
    for row, name in enumerate(table["rlnMicrographName"]):
        found += aside.attempt(name_micrograph(Path(name)), partial(_from_row, path, table, row, optics, options))
    return found


def _from_row(
    star: Path, table: StarTable, row: int, groups: dict[str, tuple[Optics, float | None]], options: OpticsOptions
) -> Found:
    path = resolve_name(table["rlnMicrographName"][row], star)
    group = str(table["rlnOpticsGroup"][row]) if "rlnOpticsGroup" in table else ""
    found, pixel_size = groups.get(group, (_optics_of_row(table, row), None))
    optics, pixel_size = make_optics(options, found), options.pixel_size or pixel_size
    micrograph = _make_micrograph(path, name_micrograph(path), pixel_size, optics)
    unweighted = micrograph
    if "rlnMicrographNameNoDW" in table:
        plain = resolve_name(table["rlnMicrographNameNoDW"][row], star)
        unweighted = _make_micrograph(plain, micrograph.name, pixel_size, optics)
    return Found(micrograph, unweighted, _ctf_of_row(table, row), find_group_spectrum(micrograph), star.absolute().parent)


def _read_optics(table: StarTable | None) -> dict[str, tuple[Optics, float | None]]:
    """Optics group number > (optics, Å/px of the micrographs)."""
    if table is None:
        return {}
    label = "rlnMicrographPixelSize" if "rlnMicrographPixelSize" in table else "rlnMicrographOriginalPixelSize"
    sizes: list[float | None] = [*table.floats(label)] if label in table else [None] * table.rows
    return {
        str(group): (_optics_of_row(table, row), size)
        for row, (group, size) in enumerate(zip(table.texts("rlnOpticsGroup"), sizes, strict=True))
    }


def _optics_of_row(table: StarTable, row: int) -> Optics:
    labels = {
        "voltage": "rlnVoltage",
        "spherical_aberration": "rlnSphericalAberration",
        "amplitude_contrast": "rlnAmplitudeContrast",
    }
    values: dict[str, float | str] = {key: table.floats(label)[row] for key, label in labels.items() if label in table}
    if "rlnOpticsGroupName" in table:
        values["group"] = table.texts("rlnOpticsGroupName")[row]
    return Optics.model_validate(values)


def _ctf_of_row(table: StarTable, row: int) -> Ctf | None:
    if "rlnDefocusU" not in table:
        return None

    def value(label: str, default: float) -> float:
        return table.floats(label, default)[row]

    return Ctf(
        defocus_u=value("rlnDefocusU", 0),
        defocus_v=value("rlnDefocusV", value("rlnDefocusU", 0)),
        defocus_angle=value("rlnDefocusAngle", 0),
        phase_shift=value("rlnPhaseShift", 0),
        score=value("rlnCtfFigureOfMerit", 0),
        resolution=value("rlnCtfMaxResolution", 999),
    )


def resolve_name(name: str, star: Path) -> Path:
    """A file named in a STAR file: relative to the RELION project, which is the STAR's folder or one above it.

    Raises:
        Unreadable: it is in none of them.
    """
    star = star.absolute()
    for folder in (*star.parents, Path.cwd()):
        path = folder / name
        if path.exists():
            return path
    raise Unreadable(f"{star}: names {name}, which is neither beside it, nor in a folder above, nor here")
