"""From small frames to a motion field: coarse alignment, then patches refined together at rising resolution."""

import torch
from torch import Tensor

from magellon.algorithms.motion.coarse import align_coarsely
from magellon.algorithms.motion.field import MotionField, local_basis
from magellon.algorithms.motion.patches import cut_patches, measure_patches
from magellon.algorithms.motion.settings import Budget, MotionSettings
from magellon.algorithms.motion.trajectory import MotionPrior, fit_trajectory

_RESOLUTIONS = (20.0, 10.0)


def estimate_motion(
    small: Tensor, factor: int, shape: tuple[int, int], pixel_size: float, settings: MotionSettings, budget: Budget
) -> MotionField:
    """Where the specimen is in each frame.

    Args:
        small: (frames, height // factor, width // factor): block means of the frames.
        shape: (height, width) of the full frames.
        pixel_size: of the full frames, Å.
    """
    frames = small.shape[0]
    if frames == 1:
        return MotionField(shape, torch.zeros(1, 2, dtype=torch.float64))
    small_pixel = pixel_size * factor
    coarse = align_coarsely(small, small_pixel)
    grid = choose_grid(shape, pixel_size, settings.patch_size)
    patches = cut_patches(small, coarse, grid, small_pixel, settings.resolution, budget.threads)
    centres = (patches.centres + 0.5) * factor - 0.5
    basis = local_basis(centres, shape)
    exposure = settings.exposure_per_frame or 1.0
    exposures = settings.pre_exposure + exposure * (torch.arange(frames, dtype=torch.float64) + 0.5)
    prior = MotionPrior(exposures)
    with_local = settings.local_motion and grid[0] * grid[1] > 1
    track = coarse * small_pixel
    local = torch.zeros(frames, basis.shape[1], 2, dtype=torch.float64)
    resolutions = (*_RESOLUTIONS, settings.resolution, settings.resolution)
    for number, resolution in enumerate(resolutions):
        present = track[:, None] + torch.einsum("pj,fjc->fpc", basis, local)
        measurement = measure_patches(patches, present, resolution, budget.threads)
        trajectory = fit_trajectory(
            present + measurement.step, measurement.patch_information, measurement.frame_information,
            basis, prior, with_local, tune=number >= len(_RESOLUTIONS),
        )  # fmt: skip
        track, local = trajectory.track, trajectory.local
    return MotionField(shape, track / pixel_size, local / pixel_size if with_local else None)


def choose_grid(shape: tuple[int, int], pixel_size: float, patch_size: float) -> tuple[int, int]:
    """Rows and columns of patches of about `patch_size` Å, 1 to 12 each."""
    rows, columns = (max(1, min(12, round(side * pixel_size / patch_size))) for side in shape)
    return rows, columns
