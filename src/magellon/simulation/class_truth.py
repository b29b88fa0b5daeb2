"""What class averages ought to look like: the noise-free projections of their members, aligned as the classification did."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magellon.algorithms.fourier import rfft_shift
from magellon.algorithms.fsc import fourier_shell_correlation, resolution_at
from magellon.simulation.class_scores import ClassAssignment, find_main_proteins
from magellon.simulation.map_views import MapViews
from magellon.simulation.particle_truth import ParticleSetTruth
from magellon.simulation.projection import euler_matrices

_MOST = 200
"""Members of a class that are drawn."""


def draw_true_average(
    members: NDArray[np.int64], found: ClassAssignment, truth: ParticleSetTruth, views: MapViews, pixel_size: float
) -> Tensor:
    """(n, n), n the box of `views`: mean of the members' projections, turned and moved by what the classification found."""
    chosen = members[:: max(1, len(members) // _MOST)]
    # What is left of each rotation and centre once the class's own are undone.
    psi = truth.psi[chosen] - found.psi[chosen]
    frames = euler_matrices(truth.rot[chosen], truth.tilt[chosen], psi)[:, :2]
    apart, radians = found.origin[chosen] - truth.origin[chosen], np.radians(found.psi[chosen])
    x = apart[:, 0] * np.cos(radians) - apart[:, 1] * np.sin(radians)
    y = apart[:, 0] * np.sin(radians) + apart[:, 1] * np.cos(radians)
    shifts = torch.from_numpy(np.stack([y, x], axis=1) / pixel_size).float() + views.box // 2
    shape = (views.box, views.box)
    mean: Tensor = torch.fft.irfft2(rfft_shift(views.project(frames), shape, shifts).mean(dim=0), s=shape)
    return mean


def true_resolutions(
    averages: NDArray[np.float32],
    found: ClassAssignment,
    truth: ParticleSetTruth,
    views: Sequence[MapViews],
    pixel_size: float,
) -> NDArray[np.float64]:
    """Å of each class (K,) at which its average correlates by 0.5 with the true average of its main protein's members.

    NaN for classes without any. The averages' order is that of the class numbers.
    """
    main = find_main_proteins(found, truth)
    fits = truth.good & (truth.protein == main)
    result = np.full(len(averages), np.nan)
    for number in np.unique(found.klass[fits & (found.klass >= 0)]):
        members = np.flatnonzero(fits & (found.klass == number))
        true = draw_true_average(members, found, truth, views[main[members[0]]], pixel_size)
        curve = fourier_shell_correlation(torch.from_numpy(averages[number]).float(), true)
        result[number] = resolution_at(curve, 0.5, pixel_size)
    return result
