"""Motion correction of one movie, from frames to micrographs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_crop
from magellon.algorithms.motion.estimate import estimate_motion
from magellon.algorithms.motion.exposure import DoseWeights, group_frames, plan_dose_weights
from magellon.algorithms.motion.field import MotionField
from magellon.algorithms.motion.frames import Overview, survey_movie
from magellon.algorithms.motion.settings import Budget, FrameSource, MotionSettings, Report, report_nothing
from magellon.algorithms.motion.summation import sum_frames
from magellon.algorithms.parallel import map_in_order, single_threaded_kernels
from magellon.algorithms.spectrum.power import centred_power, periodogram

_LARGE = 20_000_000
"""Pixels of a frame above which the sums of exposure groups are made one by one, which takes longer and less memory."""


@dataclass(frozen=True)
class MotionResult:
    """Images are float32 of the same shape, registered to the first frame."""

    micrograph: Tensor
    """Dose-weighted; the same as `unweighted` when there was no dose weighting."""
    unweighted: Tensor
    even: Tensor
    """Sum of frames 0, 2, 4 ..."""
    odd: Tensor
    group_spectrum: Tensor
    """(n, n), n <= 1024: centred power spectrum, summed over exposure groups; its Nyquist is that of `unweighted`."""
    pixel_size: float
    """Of the images, Å."""
    field: MotionField
    """In pixels of the movie."""
    bad_pixels: Tensor
    """(n, 2): (y, x) of the pixels that were replaced."""


def correct_motion(
    frames: FrameSource,
    pixel_size: float,
    settings: MotionSettings | None = None,
    *,
    gain: Tensor | None = None,
    defects: Tensor | None = None,
    budget: Budget | None = None,
    report: Report = report_nothing,
) -> MotionResult:
    """Estimate the motion in a movie and sum its frames in place.

    Args:
        frames: anything with a length that gives frame i (height, width) as `frames[i]`. Read two or three times when the
            movie does not fit into half of the memory, else once.
        pixel_size: of the frames, Å.
        gain: (height, width), multiplied; 0 marks a dead pixel.
        defects: (height, width) bool, True where a pixel is known to be bad.
        report: called with the fraction done; may raise to stop.

    Returns:
        Images, motion and what was found on the way. The same whatever the budget.

    Raises:
        BadInput: no frames, frames of different shapes, NaN, no contrast, or a gain of another shape.
    """
    settings, budget = settings or MotionSettings(), budget or Budget()
    with single_threaded_kernels():
        report(0.0, "reading frames")
        factor = max(1, int(settings.resolution / 2 / pixel_size + 0.1))
        overview = survey_movie(frames, gain, defects, factor, settings.hot_pixel_sigma, budget)
        report(0.4, "aligning")
        field = estimate_motion(overview.small, overview.factor, overview.frames.shape, pixel_size, settings, budget)
        report(0.6, "summing frames")
        return _sum(overview, field, pixel_size, settings, budget)


def _sum(overview: Overview, field: MotionField, pixel_size: float, settings: MotionSettings, budget: Budget) -> MotionResult:
    frames, shape = overview.frames, overview.frames.shape
    count = len(frames)
    even = (torch.arange(count) % 2 == 0).to(torch.float64)
    groups = group_frames(count, settings.exposure_per_frame, settings.group_exposure)
    rows = torch.stack([even, 1 - even])
    dose: DoseWeights | None = None
    if settings.dose_weighting and settings.exposure_per_frame is not None:
        dose = plan_dose_weights(count, pixel_size, settings.exposure_per_frame, settings.pre_exposure, settings.voltage)
        rows = torch.cat([rows, dose.combinations])
    new_shape = _binned_shape(shape, settings.binning)
    if shape[0] * shape[1] <= _LARGE:
        sums = sum_frames(frames, field, torch.cat([rows, groups]), budget)
        power = _add_spectra(sums[len(rows) :], new_shape, budget)
    else:
        sums = sum_frames(frames, field, rows, budget)
        power = torch.zeros(new_shape[0], new_shape[1] // 2 + 1, device=sums.device)
        for group in groups:
            power += _add_spectra(sum_frames(frames, field, group[None], budget), new_shape, budget)
    frames.kept.clear()
    new_pixel_size = pixel_size * shape[0] / new_shape[0]
    images = [sums[0] + sums[1], sums[0], sums[1]]
    if new_shape != shape:
        images = list(map_in_order(lambda image: _bin(image, new_shape), images, budget.threads))
    weighted = images[0]
    if dose is not None:
        transforms = list(map_in_order(torch.fft.rfft2, sums[2 : len(rows)], budget.threads))
        total = dose.apply(transforms, shape, pixel_size)
        weighted = torch.fft.irfft2(rfft_crop(total, shape, new_shape), s=new_shape)
    bad = frames.repair.bad
    return MotionResult(
        micrograph=weighted,
        unweighted=images[0],
        even=images[1],
        odd=images[2],
        group_spectrum=centred_power(power, new_shape, 1024),
        pixel_size=new_pixel_size,
        field=field,
        bad_pixels=torch.stack([bad // shape[1], bad % shape[1]], dim=-1),
    )


def _add_spectra(images: Tensor, new_shape: tuple[int, int], budget: Budget) -> Tensor:
    """Sum of the power spectra of images after binning."""

    def measure(image: Tensor) -> Tensor:
        return periodogram(image if tuple(image.shape) == new_shape else _bin(image, new_shape))

    total, *others = map_in_order(measure, images, budget.threads)
    for power in others:
        total += power
    return total


def _binned_shape(shape: tuple[int, int], binning: float) -> tuple[int, int]:
    if binning == 1:
        return shape
    height, width = (max(1, 2 * round(side / binning / 2)) for side in shape)
    return height, width


def _bin(image: Tensor, new_shape: tuple[int, int]) -> Tensor:
    shape = (image.shape[-2], image.shape[-1])
    binned: Tensor = torch.fft.irfft2(rfft_crop(torch.fft.rfft2(image), shape, new_shape), s=new_shape)
    return binned
