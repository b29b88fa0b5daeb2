"""From small frames to a motion field: coarse alignment, then patches refined together at rising resolution."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from magellon.algorithms.motion.coarse import align_coarsely
from magellon.algorithms.motion.field import MotionField, local_basis
from magellon.algorithms.motion.frames import shrink_frame
from magellon.algorithms.motion.patches import cut_patches, measure_patches
from magellon.algorithms.motion.settings import Budget, MotionSettings
from magellon.algorithms.motion.trajectory import MotionPrior, fit_trajectory

_RESOLUTIONS = (20.0, 10.0)
_LEAST_TRUSTED = 0.55
_SMALLEST_PATCH = 250.0  # Å
_CELL = 30.0  # Å
_UNUSUAL = 0.4
_REACH = 150.0  # Å
_DARK = 0.3
_FRINGES = 500.0  # Å: how far the fringes of the beam's edge reach


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
    small = hide_foreign_areas(small, small_pixel)
    coarse = align_coarsely(small, small_pixel)
    grid = choose_grid(shape, pixel_size, settings.patch_size)
    patches = cut_patches(small, coarse, grid, small_pixel, settings.resolution, budget.threads)
    centres = (patches.centres + 0.5) * factor - 0.5
    basis = local_basis(centres, shape)
    exposure = settings.exposure_per_frame or 1.0
    exposures = settings.pre_exposure + exposure * (torch.arange(frames, dtype=torch.float64) + 0.5)
    prior = MotionPrior(exposures, (shape[0] * pixel_size, shape[1] * pixel_size))
    with_local = settings.local_motion and grid[0] * grid[1] > 1
    track = coarse * small_pixel
    local = torch.zeros(frames, basis.shape[1], 2, dtype=torch.float64)
    resolutions = (*_RESOLUTIONS, settings.resolution)
    for number, resolution in enumerate(resolutions):
        present = track[:, None] + torch.einsum("pj,fjc->fpc", basis, local)
        measurement = measure_patches(patches, present, resolution, budget.threads)
        tune = number >= len(_RESOLUTIONS)
        # A few patches in a corner, where all else is beam edge or carbon, cannot speak for the whole field.
        with_local = with_local and float(measurement.trusted.double().mean()) > _LEAST_TRUSTED
        trajectory = fit_trajectory(measurement, present, basis, prior, with_local=with_local, tune=tune)
        track, local = trajectory.track, trajectory.local
    return MotionField(shape, track / pixel_size, local / pixel_size if with_local else None)


def hide_foreign_areas(small: Tensor, pixel_size: float) -> Tensor:
    """Fade out areas that are far darker or brighter than the rest.

    The edge of the beam and its fringes stay with the microscope while the specimen moves, and would otherwise outweigh
    everything else.
    """
    factor = max(1, min(round(_CELL / pixel_size), min(small.shape[1:]) // 8))
    mean = torch.zeros_like(small[0])
    for image in small:
        mean += image
    mean /= small.shape[0]
    cells = _blur(shrink_frame(mean, None, factor), 3)
    bright = cells > 0.5 * cells.flatten().kthvalue(int(0.9 * cells.numel())).values
    level = cells[bright].median() if bool(bright.any()) else cells.median()
    dark = cells < _DARK * level
    foreign = (cells - level).abs() > _UNUSUAL * level.abs()
    if not bool(foreign.any()) or float(foreign.double().mean()) > 0.9:
        return small
    cell = pixel_size * factor
    near = torch.maximum(_grow(dark.float(), round(_FRINGES / cell)), _grow(foreign.float(), round(_REACH / cell)))
    if bool(near.all()):
        near = foreign.float()
    kept = 1 - _blur(near, 5)
    # What is left must not end in a step where it is faded out: only deviations from the smooth background stay.
    weight = 1 - foreign.float()
    background = _blur(cells * weight, 9) / _blur(weight, 9).clamp(min=1e-3)
    background = torch.where(_blur(weight, 9) > 0.01, background, level)
    size = (small.shape[1], small.shape[2])
    kept, background = (
        interpolate(image[None, None], size=size, mode="bilinear", align_corners=False)[0, 0] for image in (kept, background)
    )
    return torch.stack([(image - background) * kept for image in small])


def _blur(image: Tensor, size: int) -> Tensor:
    """Mean over squares of `size` pixels (odd); the border counts only what there is."""
    return avg_pool2d(image[None], size, stride=1, padding=size // 2, count_include_pad=False)[0]


def _grow(image: Tensor, reach: int) -> Tensor:
    return max_pool2d(image[None], 2 * reach + 1, stride=1, padding=reach)[0]


def choose_grid(shape: tuple[int, int], pixel_size: float, patch_size: float) -> tuple[int, int]:
    """Rows and columns of patches of about `patch_size` Å, smaller in small fields to have four of them; at most 12."""
    rows, columns = (_count_patches(side * pixel_size, patch_size) for side in shape)
    return rows, columns


def _count_patches(extent: float, patch_size: float) -> int:
    wanted = round(extent / patch_size)
    return max(1, min(12, max(wanted, min(4, int(extent / min(patch_size, _SMALLEST_PATCH))))))
