"""From micrographs and STAR files to what the network is taught with."""

from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from magellon.algorithms.picking.decoding import find_candidates
from magellon.algorithms.picking.evaluation import MATCH_DIAMETERS
from magellon.algorithms.picking.field import check_diameter, check_image
from magellon.algorithms.picking.network_picks import PickingNetwork, apply_network, check_view
from magellon.algorithms.picking.teaching import Lesson
from magellon.algorithms.picking.view import make_view
from magellon.contracts import BadInput, Micrograph, PickerTrainingItem
from magellon.io.mrc import read_mrc
from magellon.io.star import StarTable, read_star

Points = NDArray[np.float64]
NEAR = MATCH_DIAMETERS
"""Diameters within which a kept particle is the pick it came from."""
LIKELY = 0.3
"""Probability from which a place that nobody picked is doubtful rather than empty."""


def make_lesson(
    item: PickerTrainingItem, kept: dict[str, Points] | None, network: PickingNetwork, diameter: float | None, device: str
) -> Lesson:
    """One micrograph's lesson.

    Where a classification kept some of the particles, those are the centres; other picks were rejected; and what the network
    would pick beside them is doubtful, for it may have been left out by chance.

    Args:
        kept: centres (n, 2), (x, y) in pixels, by name of the micrograph; None: every pick is right, and nothing else is.

    Raises:
        BadInput: a micrograph that cannot be picked, or picks without coordinates.
    """
    micrograph = item.micrograph
    picked = read_centres(item.picks.path, micrograph)
    image = torch.from_numpy(read_mrc(micrograph.path)).to(device)
    size = diameter or item.picks.diameter
    try:
        check_image(image, micrograph.pixel_size)
        check_diameter(size, (image.shape[0], image.shape[1]), micrograph.pixel_size)
        check_view((image.shape[0], image.shape[1]), micrograph.pixel_size, size)
    except BadInput as error:
        raise BadInput(f"{micrograph.path}: {error}") from error
    view = make_view(image, micrograph.pixel_size, size)
    centres, rejected, doubtful = picked, np.zeros((0, 2)), np.zeros((0, 2))
    if kept is not None:
        reach = NEAR * size / micrograph.pixel_size
        centres = next((kept[name] for name in names_of(micrograph) if name in kept), np.zeros((0, 2)))
        rejected = _away(picked, centres, reach)
        found = find_candidates(apply_network(network.run, view), 0.5)
        likely = view.to_micrograph(found.positions)[network.calibration.apply(found.logits) > LIKELY].cpu().numpy()
        doubtful = _away(_away(likely, centres, reach), picked, reach)

    def to_cells(points: Points) -> torch.Tensor:
        return view.from_micrograph(torch.from_numpy(points))

    return Lesson(micrograph.name, view, to_cells(centres), to_cells(rejected), to_cells(doubtful))


def _away(points: Points, others: Points, reach: float) -> Points:
    """Those of the points (n, 2) that have none of the others within reach."""
    if not len(points) or not len(others):
        return points
    distance = np.hypot(*(points[:, None] - others[None]).transpose(2, 0, 1))
    return np.asarray(points[distance.min(axis=1) > reach])


def names_of(micrograph: Micrograph) -> tuple[str, ...]:
    """What STAR files may call it, without folders and suffix."""
    return micrograph.name, micrograph.path.stem


def read_centres(path: Path, micrograph: Micrograph) -> Points:
    """Centres (n, 2), (x, y) in pixels, of one micrograph's picks.

    Raises:
        BadInput: no coordinates, or one that is not finite.
    """
    table = _find_table(path)
    centres = _read_rows(table, path, micrograph.pixel_size)
    height, width = micrograph.shape
    outside = (centres < -0.5).any(axis=1) | (centres[:, 0] > width - 0.5) | (centres[:, 1] > height - 0.5)
    if outside.any():
        x, y = centres[outside.argmax()]
        raise BadInput(
            f"{path}: a coordinate ({x:g}, {y:g}) lies outside {micrograph.path.name}, which has {width} x {height} pixels: "
            "these picks belong to another micrograph, or to one that is binned otherwise"
        )
    return centres


def read_kept(path: Path, pixel_size: float) -> dict[str, Points]:
    """Centres (n, 2), (x, y) in pixels, by name of the micrograph, of the particles that a classification kept.

    Raises:
        BadInput: no particles with coordinates and micrographs.
    """
    table = _find_table(path)
    if "rlnMicrographName" not in table:
        raise BadInput(f"{path}: no column rlnMicrographName: it does not say on which micrographs its particles lie")
    centres = _read_rows(table, path, pixel_size)
    names = np.array([PurePosixPath(name).stem for name in table["rlnMicrographName"]])
    return {str(name): centres[names == name] for name in np.unique(names)}


def _find_table(path: Path) -> StarTable:
    for table in read_star(path).values():
        if "rlnCoordinateX" in table:
            return table
    raise BadInput(f"{path}: no table with rlnCoordinateX")


def _read_rows(table: StarTable, path: Path, pixel_size: float) -> Points:
    """Refined particles lie at trunc(coordinate) - origin, picks where they say."""
    centres = np.array([table.floats(f"rlnCoordinate{axis}") for axis in "XY"], dtype=np.float64).T.reshape(-1, 2)
    if "rlnOriginXAngst" in table:
        origins = np.array([table.floats(f"rlnOrigin{axis}Angst") for axis in "XY"], dtype=np.float64).T.reshape(-1, 2)
        if origins.any():
            centres = np.trunc(centres) - origins / pixel_size
    bad = np.flatnonzero(~np.isfinite(centres).all(axis=1))
    if len(bad):
        raise BadInput(f"{path}: row {bad[0] + 1}: the coordinate is not finite")
    return centres
