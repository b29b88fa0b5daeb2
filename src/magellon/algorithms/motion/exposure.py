"""Dose weighting and exposure groups from a few sums of frames.

The weights exp(-N / (2 Ne(k))) of all frames at all frequencies are a matrix of low rank: three or four combinations of the
frames, each with a weight per frequency, give the dose-weighted sum to half a percent, so that no frame has to be transformed
by itself. (Grant & Grigorieff 2015, doi:10.7554/eLife.06980.)
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import exposure_weights
from magellon.units import AngstromPerPixel, Exposure, Kilovolt

_RADII = 2048
_ACCURACY = 0.005


def group_frames(frames: int, exposure_per_frame: Exposure | None, group_exposure: Exposure) -> Tensor:
    """(groups, frames) of ones and zeros: consecutive frames of about `group_exposure` together.

    Without a known exposure, four frames make a group.
    """
    size = 4 if exposure_per_frame is None else max(1, round(group_exposure / exposure_per_frame))
    groups = max(1, round(frames / size))
    edges = [round(group * frames / groups) for group in range(groups + 1)]
    matrix = torch.zeros(groups, frames, dtype=torch.float64)
    for group, (start, end) in enumerate(pairwise(edges)):
        matrix[group, start:end] = 1
    return matrix


@dataclass(frozen=True)
class DoseWeights:
    """Σ_f w_f(k) F_f / sqrt(Σ_f w_f(k)²) as Σ_c table[c, k] Σ_f combinations[c, f] F_f."""

    combinations: Tensor
    """(terms, frames), float64."""
    table: Tensor
    """(terms, radii), float64: weight of each combination at radius x `step`."""
    step: float
    """1/Å."""

    def apply(self, transforms: list[Tensor], shape: tuple[int, int], pixel_size: AngstromPerPixel) -> Tensor:
        """The weighted sum of the transforms of the combinations, each (height, width // 2 + 1). Uses up its input."""
        radius = _radius_index(shape, pixel_size, self.step, transforms[0].device)
        table = self.table.to(device=radius.device, dtype=torch.float32)
        total = transforms.pop(0)
        total *= table[0][radius]
        for weights in table[1:]:
            total += transforms.pop(0).mul_(weights[radius])
        return total


@lru_cache(maxsize=1)
def _radius_index(shape: tuple[int, int], pixel_size: float, step: float, device: torch.device) -> Tensor:
    """(height, width // 2 + 1), int32: radius in units of `step`; the movies of a session share it."""
    k_row, k_column = rfft_frequencies(shape, pixel_size, device)
    return (k_row.square() + k_column.square()).sqrt_().div_(step).round_().clamp_(max=_RADII - 1).to(torch.int32)


def plan_dose_weights(
    frames: int, pixel_size: AngstromPerPixel, exposure_per_frame: Exposure, pre_exposure: Exposure, voltage: Kilovolt
) -> DoseWeights:
    """Dose weights by exposure at the end of each frame, as the fewest combinations that are right to half a percent."""
    exposures = pre_exposure + exposure_per_frame * (torch.arange(frames, dtype=torch.float64) + 1)
    step = 0.75 / pixel_size / (_RADII - 1)  # up to the corner of the half plane
    wanted = exposure_weights(torch.arange(_RADII, dtype=torch.float64) * step, exposures, voltage)
    # The common factor of all frames cancels in the normalisation; without it nothing underflows.
    wanted = wanted / wanted.amax(0).clamp(min=1e-300)
    wanted = wanted / wanted.square().sum(0).sqrt()
    left, strength, right = torch.linalg.svd(wanted, full_matrices=False)
    for terms in range(1, frames + 1):
        table = strength[:terms, None] * right[:terms]
        if float((wanted - left[:, :terms] @ table).square().sum(0).max()) < _ACCURACY**2:
            break
    return DoseWeights(left[:, :terms].T.contiguous(), table, step)
