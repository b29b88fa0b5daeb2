"""RELION's motion metadata, written and read."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from magellon.algorithms.motion import MotionField
from magellon.algorithms.motion.field import grid_centres
from magellon.algorithms.motion.polynomial import fit_polynomial, polynomial_displacement
from magellon.backends.motioncor.relion_star import MotionMetadata, read_motion_star, write_motion_star
from magellon.errors import BadInput
from magellon.io.star import read_star

SHAPE = (300, 500)
METADATA = MotionMetadata(
    "movies/a.tiff", SHAPE, 14, 0.9, 200.0, start_frame=3, exposure_per_frame=1.2, gain_name="movies/g.mrc"
)


def smooth_field() -> MotionField:
    """Motion that RELION's model can describe: up to x² and y² in space, t³ in time."""
    time = torch.linspace(0, 1, 12, dtype=torch.float64)[:, None, None]
    track = torch.cumsum(torch.full((12, 2), 0.7, dtype=torch.float64), 0) - 0.7
    local = torch.zeros(12, 9, 2, dtype=torch.float64)
    local[:, :5] = (time - 0.4 * time**2) * torch.linspace(-2, 3, 10, dtype=torch.float64).view(5, 2)
    return MotionField(SHAPE, track, local)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    field = smooth_field()
    write_motion_star(tmp_path / "a.star", METADATA, field, torch.tensor([[7, 9]]))
    record = read_motion_star(tmp_path / "a.star")
    assert record.metadata == METADATA
    points = grid_centres(SHAPE, (5, 5))
    torch.testing.assert_close(record.displacement(points), field.displacement(points), atol=2e-3, rtol=0)
    tables = read_star(tmp_path / "a.star")
    assert tables["global_shift"].floats("rlnMicrographShiftX")[:3] == [-9999.0, -9999.0, 0.0]
    # The file holds corrections: minus the displacement.
    assert tables["global_shift"].floats("rlnMicrographShiftX")[3] == pytest.approx(-0.7)
    assert tables["hot_pixels"].floats("rlnCoordinateX") == [9.0]


def test_coefficients_of_early_binning_are_in_binned_pixels(tmp_path: Path) -> None:
    write_motion_star(tmp_path / "a.star", replace(METADATA, binning=2.0), smooth_field(), torch.zeros(0, 2))
    late = read_motion_star(tmp_path / "a.star")
    early = read_motion_star(tmp_path / "a.star", early_binning=True)
    torch.testing.assert_close(early.track, late.track)
    torch.testing.assert_close(early.coefficients, 2 * late.coefficients)


def test_the_order_of_the_coefficients_is_relions() -> None:
    coefficients = torch.zeros(36, dtype=torch.float64)
    coefficients[3 * 1 + 1] = 0.5  # X: x z²
    coefficients[18 + 3 * 3] = 2.0  # Y: y z
    points = torch.tensor([[30.0, 450.0]])
    found = polynomial_displacement(coefficients, points, 4, SHAPE)[3, 0]
    x, y, z = 450 / 500 - 0.5, 30 / 300 - 0.5, 3
    torch.testing.assert_close(found, -torch.tensor([2.0 * y * z, 0.5 * x * z**2], dtype=torch.float64))


def test_the_first_frame_does_not_move() -> None:
    coefficients = fit_polynomial(smooth_field())
    still = polynomial_displacement(coefficients, grid_centres(SHAPE, (3, 3)), 12, SHAPE)[0]
    assert float(still.abs().max()) == 0


def test_real_tracks_explain_the_patches_they_were_fitted_to(real_data: Path) -> None:
    """RELION wrote what it measured in each patch beside its model: the model must reduce it, with the right sign."""
    files = sorted((real_data / "motion" / "relion5").glob("*.star"))
    assert len(files) == 24
    for path in files:
        record = read_motion_star(path)
        patches = read_star(path)["local_shift"]
        points = torch.tensor([patches.floats("rlnCoordinateY"), patches.floats("rlnCoordinateX")]).T
        correction = torch.tensor([patches.floats("rlnMicrographShiftY"), patches.floats("rlnMicrographShiftX")]).T.double()
        frame = torch.tensor(patches.ints("rlnMicrographFrameNumber")) - record.metadata.start_frame
        local = record.displacement(points) - record.track[:, None]
        modelled = -local[frame, torch.arange(len(frame))]
        before, after = correction.square().mean().sqrt(), (correction - modelled).square().mean().sqrt()
        assert after < 0.85 * before, path.name
        assert 5 < float(record.track[-1].norm()) * record.metadata.pixel_size < 25


def test_a_file_without_motion_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.star"
    path.write_text("data_general\n\n_rlnImageSizeX 10\n")
    with pytest.raises(BadInput, match="no block data_global_shift"):
        read_motion_star(path)
