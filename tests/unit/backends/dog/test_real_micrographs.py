"""The picker on real micrographs, told the pixel size and the particle's diameter."""

from pathlib import Path

import numpy as np
import pytest
import torch

from magellon.algorithms.picking import propose_diameter
from magellon.backends.dog.backend import DogParams, DogPicker
from magellon.contracts import Context, Micrograph, PickingInput, PickingOutput
from magellon.io.mrc import open_mrc, read_mrc
from magellon.simulation.score import read_points

pytestmark = pytest.mark.slow


def pick(path: Path, pixel_size: float, diameter: float, workdir: Path) -> tuple[PickingOutput, np.ndarray]:
    """The output and the coordinates (n, 2), (x, y)."""
    with open_mrc(path) as mrc:
        shape = (mrc.shape[-2], mrc.shape[-1])
    micrograph = Micrograph(name=path.stem, path=path, pixel_size=pixel_size, shape=shape)
    output = DogPicker().run(PickingInput(micrograph=micrograph), DogParams(diameter=diameter), Context(workdir=workdir))
    return output, np.asarray(read_points(output.picks.path))


def test_capsids_are_found_and_the_crystal_is_not(tmp_path: Path, real_data: Path) -> None:
    """About 90 hollow capsids of about 20 pixels, many touching; a black crystal of twice their size at (47, 391)."""
    output, points = pick(real_data / "micrographs" / "capsid_ds8.mrc", 6.32, 130.0, tmp_path)
    assert 70 <= len(points) <= 105
    assert np.hypot(*(points - (47, 391)).T).min() > 20
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(len(points))
    assert distances.min() > 0.45 * output.picks.diameter / 6.32, "no capsid twice"


def test_the_capsids_diameter_is_not_trusted_where_it_is_wrong(real_data: Path) -> None:
    """Binned eight times, the micrograph shows no texture."""
    image = torch.from_numpy(read_mrc(real_data / "micrographs" / "capsid_ds8.mrc").astype(np.float32))
    proposal = propose_diameter(image, 6.32)
    assert proposal.confidence < 0.5 or proposal.diameter == pytest.approx(130, rel=0.2)


def test_a_huge_contamination_is_avoided(tmp_path: Path, real_data: Path) -> None:
    """The published mask, which is soft, says where no particle can be used."""
    output, points = pick(real_data / "micrographs" / "contaminated.mrc", 1.0, 80.0, tmp_path)
    bad = np.squeeze(read_mrc(real_data / "micrographs" / "contaminated_mask.mrc")) > 0.5
    row, column = points[:, 1].astype(int), points[:, 0].astype(int)
    assert len(points) >= 10
    assert bad[row, column].mean() <= 0.1
    assert output.masked_fraction > bad.mean()
