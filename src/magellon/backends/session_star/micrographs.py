"""The tables of `corrected_micrographs.star` and `micrographs_ctf.star`."""

from collections.abc import Mapping, Sequence

from magellon.backends.session_star.optics import MicrographOptics, OpticsGroups, find_micrograph
from magellon.backends.session_star.places import place_file
from magellon.contracts import CtfOutput, MotionOutput, SessionItem
from magellon.io.star import StarTable

Row = dict[str, str | float | int]


def tabulate_corrected(
    items: Sequence[SessionItem], optics: Mapping[str, MicrographOptics], folders: Mapping[str, str]
) -> dict[str, StarTable]:
    """The blocks of `corrected_micrographs.star`: what came out of motion correction."""
    groups = OpticsGroups.collect(optics[item.name] for item in items)
    rows = []
    for item in items:
        assert item.motion_correction is not None
        group = optics[item.name]
        rows.append(_name_row(item, groups.numbers[group], folders) | _motion_row(item.motion_correction, group))
    return {"optics": groups.table(), "micrographs": _table(rows)}


def tabulate_ctf(
    items: Sequence[SessionItem], optics: Mapping[str, MicrographOptics], folders: Mapping[str, str]
) -> dict[str, StarTable]:
    """The blocks of `micrographs_ctf.star`: micrographs with their fits, held back or not."""
    groups = OpticsGroups.collect(optics[item.name] for item in items)
    rows = []
    for item in items:
        assert item.ctf_estimation is not None
        rows.append(_name_row(item, groups.numbers[optics[item.name]], folders) | _ctf_row(item.ctf_estimation, folders))
    return {"optics": groups.table(), "micrographs": _table(rows)}


def tabulate_picks(items: Sequence[SessionItem], folders: Mapping[str, str]) -> dict[str, StarTable]:
    """The block of `autopick.star`: where the coordinates of each micrograph are."""
    rows: list[Row] = []
    for item in items:
        assert item.particle_picking is not None
        coordinates = place_file(folders, "particle_picking", item.particle_picking.picks.path)
        rows.append({"rlnMicrographName": name_micrograph(item, folders), "rlnMicrographCoordinates": coordinates})
    return {"coordinate_files": _table(rows)}


def name_micrograph(item: SessionItem, folders: Mapping[str, str]) -> str:
    """The session's name of an item's micrograph."""
    micrograph = find_micrograph(item)
    assert micrograph is not None
    return place_file(folders, "motion_correction" if item.motion_correction else "micrograph", micrograph.path)


def _name_row(item: SessionItem, group: int, folders: Mapping[str, str]) -> Row:
    row: Row = {"rlnMicrographName": name_micrograph(item, folders)}
    if item.motion_correction is not None:
        row["rlnMicrographMetadata"] = place_file(folders, "motion_correction", item.motion_correction.star)
        row["rlnMicrographNameNoDW"] = place_file(folders, "motion_correction", item.motion_correction.unweighted.path)
    return row | {"rlnOpticsGroup": group}


def _motion_row(motion: MotionOutput, optics: MicrographOptics) -> Row:
    # RELION documents Å for these columns and writes pixels of the movie.
    pixel = optics.original_pixel_size
    return {
        "rlnAccumMotionTotal": motion.total_motion / pixel,
        "rlnAccumMotionEarly": motion.early_motion / pixel,
        "rlnAccumMotionLate": motion.late_motion / pixel,
    }


def _ctf_row(result: CtfOutput, folders: Mapping[str, str]) -> Row:
    ctf = result.ctf
    return {
        "rlnCtfImage": place_file(folders, "ctf_estimation", result.spectrum) + ":mrc",
        "rlnDefocusU": ctf.defocus_u,
        "rlnDefocusV": ctf.defocus_v,
        "rlnCtfAstigmatism": ctf.astigmatism,
        "rlnDefocusAngle": ctf.defocus_angle,
        "rlnPhaseShift": ctf.phase_shift,
        "rlnCtfFigureOfMerit": ctf.score,
        "rlnCtfMaxResolution": ctf.resolution,
    }


def _table(rows: Sequence[Row]) -> StarTable:
    """Rows as columns; a column that some rows lack is left out."""
    if not rows:
        return StarTable()
    labels = [label for label in rows[0] if all(label in row for row in rows)]
    return StarTable({label: [row[label] for row in rows] for label in labels})
