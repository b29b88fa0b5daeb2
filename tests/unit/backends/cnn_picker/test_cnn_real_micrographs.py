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
    """Picks as (row, column), and the published mask of what no particle can be used from."""
    _, points = pick(real_data / "micrographs" / "contaminated.mrc", 1.0, 80.0, folder)
    assert len(points) >= 40
    return points[:, ::-1].astype(int), np.squeeze(read_mrc(real_data / "micrographs" / "contaminated_mask.mrc")) > 0.5


def test_a_huge_contamination_is_avoided(tmp_path: Path, real_data: Path) -> None:
    places, bad = pick_contaminated(real_data, tmp_path)
    parts, number = ndimage.label(bad)
    largest = parts == 1 + np.argmax(ndimage.sum_labels(bad, parts, np.arange(number) + 1))
    assert not largest[tuple(places.T)].any()


@pytest.mark.xfail(strict=True, reason="small black spots in the mask are still taken for particles")
def test_nothing_is_picked_on_contamination(tmp_path: Path, real_data: Path) -> None:
    places, bad = pick_contaminated(real_data, tmp_path)
    assert not bad[tuple(places.T)].any()
