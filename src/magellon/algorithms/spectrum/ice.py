"""How strong the rings of ice are in a power spectrum."""

import torch
from torch import Tensor

from magellon.algorithms.spectrum.polar import PolarSpectrum

RING = (4.05, 3.35)
"""Å, where ice shows: crystals at 3.90 (100), 3.67 (002) and 3.44 (101), vitreous ice as a halo about 3.7."""
INSIDE, OUTSIDE = (6.0, 4.9), (2.95, 2.6)
"""Å on both sides of the halo: what the spectrum would be without ice."""
WINDOW = 0.02
"""Of the frequency: as wide as a ring of crystals, and wide enough that the noise of single frequencies does not count."""


def measure_ice(spectrum: PolarSpectrum) -> float | None:
    """Power of the strongest ring about 3.7 Å above what lies around it, as a fraction of that.

    0 where there is none. Vitreous ice of the usual thickness gives some tenths, crystals give more, be they many (rings) or a
    few (spots, which the mean over all directions keeps). Thick ice raises it, and so does what makes everything weak around
    3 to 6 Å: a ratio to compare micrographs of one session with, not a thickness in Å.

    Args:
        spectrum: of an image without dose weighting, whose rings reach 1 / 2.95 Å.

    Returns:
        None when the pixels are too large: there is nothing beyond the ring to compare it with.
    """
    power = _average_directions(spectrum)
    k = spectrum.ring_k.double()
    inside, outside = _mean_between(power, k, INSIDE), _mean_between(power, k, OUTSIDE)
    ring = (k >= 1 / RING[0]) & (k <= 1 / RING[1])
    if inside is None or outside is None or not bool(ring.any()):
        return None
    (low, below), (high, above) = inside, outside
    if below <= 0 or above <= 0:
        return None
    places = k[ring]
    share = (places - low) / (high - low)
    around = torch.exp((1 - share) * torch.log(torch.tensor(below)) + share * torch.log(torch.tensor(above)))
    excess = _running_mean(power, k, places) / around.to(power.device) - 1
    return max(0.0, float(excess.max()))


def _average_directions(spectrum: PolarSpectrum) -> Tensor:
    """(rings,) mean power, by all samples alike."""
    count = spectrum.count.double()
    return (spectrum.power.double() * count).sum(dim=1) / count.sum(dim=1).clamp(min=1)


def _mean_between(power: Tensor, k: Tensor, span: tuple[float, float]) -> tuple[float, float] | None:
    """(mean frequency, mean power) between two resolutions in Å; None where fewer than three rings lie there."""
    chosen = (k >= 1 / span[0]) & (k <= 1 / span[1])
    return (float(k[chosen].mean()), float(power[chosen].mean())) if int(chosen.sum()) >= 3 else None


def _running_mean(power: Tensor, k: Tensor, places: Tensor) -> Tensor:
    """Mean of the power in a window about each of some frequencies."""
    near = (k[None, :] - places[:, None]).abs() <= 0.5 * WINDOW * places[:, None]
    return (near * power[None, :]).sum(dim=1) / near.sum(dim=1)
