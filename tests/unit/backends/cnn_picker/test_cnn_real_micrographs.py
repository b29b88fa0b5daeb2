"""The network's picker on real micrographs, where there are any: picks where a person would pick, none on contamination."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from magellon.backends.cnn_picker.backend import CnnParams, CnnPicker
from magellon.contracts import Context, Micrograph, PickingInput, PickingOutput
from magellon.io.mrc import read_mrc, write_mrc
from magellon.simulation.score import read_points


def pick(source: Path, pixel_size: float, diameter: float, folder: Path) -> tuple[PickingOutput, np.ndarray]:
    image = np.squeeze(read_mrc(source)).astype(np.float32)
    path = folder / source.name
    write_mrc(path, image, pixel_size)
    micrograph = Micrograph(name=path.stem, path=path, pixel_size=pixel_size, shape=(image.shape[0], image.shape[1]))
    output = CnnPicker().run(PickingInput(micrograph=micrograph), CnnParams(diameter=diameter), Context(workdir=folder))
    return output, read_points(output.picks.path)


def test_capsids_are_found_and_the_crystal_is_not(tmp_path: Path, real_data: Path) -> None:
    """About 90 hollow capsids, many touching; a black crystal of twice their size at (47, 391)."""
    output, points = pick(real_data / "micrographs" / "capsid_ds8.mrc", 6.32, 130.0, tmp_path)
    assert 80 <= output.picks.count <= 110
    assert np.hypot(*(points - (47, 391)).T).min() > 20


def pick_contaminated(real_data: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Picks as (row, column), and where the published mask, which another network made (MicrographCleaner), is above 0.5."""
    _, points = pick(real_data / "micrographs" / "contaminated.mrc", 1.0, 80.0, folder)
    return points[:, ::-1].astype(int), np.squeeze(read_mrc(real_data / "micrographs" / "contaminated_mask.mrc")) > 0.5


def find_largest(bad: np.ndarray) -> np.ndarray:
    parts, number = ndimage.label(bad)
    largest: np.ndarray = parts == 1 + np.argmax(ndimage.sum_labels(bad, parts, np.arange(number) + 1))
    return largest


def test_a_huge_contamination_is_avoided(tmp_path: Path, real_data: Path) -> None:
    places, bad = pick_contaminated(real_data, tmp_path)
    assert not find_largest(bad)[tuple(places.T)].any()


def test_what_is_seen_is_picked_and_empty_ice_is_not(tmp_path: Path, real_data: Path) -> None:
    """RELION's picks away from the contamination and the borders, twofold ones once, are where an eye sees something."""
    places, bad = pick_contaminated(real_data, tmp_path)
    away = ndimage.distance_transform_edt(~find_largest(bad)) > 40
    away[:40] = away[-40:] = away[:, :40] = away[:, -40:] = False
    seen: list[np.ndarray] = []
    for place in read_points(real_data / "picks" / "contaminated_autopick.star")[:, ::-1]:
        if away[tuple(place.astype(int))] and all(np.hypot(*(place - each)) > 40 for each in seen):
            seen.append(place)
    gap = np.hypot(*(np.array(seen)[:, None] - places).T)
    assert len(seen) == 26
    assert (gap.min(axis=0) < 30).mean() >= 0.8, "most of what is seen"
    assert (gap.min(axis=1) >= 30).mean() <= 0.3, "little else"


@pytest.mark.xfail(strict=True, reason="three spots in the mask are taken for particles, and nothing tells them from others")
def test_nothing_is_picked_on_contamination(tmp_path: Path, real_data: Path) -> None:
    """The mask is at most 0.55, 0.70 and 0.80 there, and RELION picks all three.

    Darkness (blurred by a sixteenth and by an eighth of a diameter) and likeness of the first are 0.4 to 0.7 spreads above the
    median of the micrograph's picks, those of the others 1.6 to 3.9. Of true particles of the picking benchmark up to 9 % are
    more than 2 spreads above it, up to 6 % more than 3. Five other dark spots, hardly less dark, are not in the mask.
    """
    places, bad = pick_contaminated(real_data, tmp_path)
    assert not bad[tuple(places.T)].any()
