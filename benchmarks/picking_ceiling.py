"""How well particles could be picked by whoever knows the protein: a bound that tells faint particles from a weak picker.

A matched filter with the true map in many directions, the true CTF, the noise of the micrograph made white, what hides
particles cut out by the truth, and the one threshold that is best for the truth. No picker that has never seen the protein can
do this.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import ctf_rfft
from magellon.algorithms.picking.peaks import find_maxima, suppress_neighbours
from magellon.algorithms.picking.templates import crop_map
from magellon.simulation.map_views import MapViews
from magellon.simulation.movie import ctf_model
from magellon.simulation.projection import euler_matrices
from magellon.simulation.score import NO_PICKS, PickScore, score_picks
from magellon.simulation.truth import MovieTruth

PIXEL = 3.0
"""Å: micrographs and map are reduced to this."""
VIEWS, TURNS = 60, 24
B_FACTOR = 220.0
"""Å²: how detail fades by vibration and dose; about what was seen by comparing these micrographs with true projections."""
FAINTEST = 2.0
"""Standard deviations."""


@dataclass(frozen=True)
class Response:
    """Maxima of a micrograph: (n, 2) pixels (x, y) and their height over the noise, none near a higher one."""

    points: NDArray[np.float64]
    heights: NDArray[np.float64]


def find_ceiling(movies: Sequence[MovieTruth], images: Sequence[Tensor], volume: Tensor, diameter: float) -> PickScore:
    """The best score of a matched filter over all thresholds, one for all micrographs.

    Args:
        images: (height, width) of each movie.
        volume: the true map at the movies' pixel size.
        diameter: Å.
    """
    found = [match(movie, image, volume, diameter) for movie, image in zip(movies, images, strict=True)]
    best = NO_PICKS
    for threshold in np.arange(FAINTEST, 10, 0.1):
        total = NO_PICKS
        for movie, each in zip(movies, found, strict=True):
            total += score_picks(movie, each.points[each.heights >= threshold], diameter)
        best = max(best, total, key=lambda score: score.f1)
    return best


def match(movie: MovieTruth, image: Tensor, volume: Tensor, diameter: float) -> Response:
    """The greatest response of all views and turns, where nothing hides particles."""
    pixel_size = movie.pixel_size
    height, width = image.shape
    y, x = np.mgrid[:height:8, :width:8]
    hidden = movie.surroundings.obscured(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)).reshape(x.shape)
    mask = torch.from_numpy(hidden).repeat_interleave(8, 0).repeat_interleave(8, 1)[:height, :width]
    image = torch.where(mask, image[~mask].median(), image)
    small = tuple(int(side * pixel_size / PIXEL) // 2 * 2 for side in (height, width))
    step = height * pixel_size / small[0]
    best = _respond(movie, _crop(torch.fft.rfft2(image - image.mean()), small), small, step, volume, diameter)
    best = (best - best.median()) / (1.4826 * (best - best.median()).abs().median())
    cells, _ = find_maxima(best, best > FAINTEST, 2)
    heights = best[cells[:, 0], cells[:, 1]]
    order = torch.sort(heights, descending=True, stable=True).indices
    cells, heights = cells[order], heights[order]
    kept = suppress_neighbours(cells.double(), 0.5 * diameter / step)
    points = ((cells[kept].double() + 0.5) * step / pixel_size - 0.5).flip(1).numpy()
    heights = heights[kept].double().numpy()
    margin = diameter / 2 / pixel_size
    inside = ((points >= margin) & (points <= np.array([width, height]) - 1 - margin)).all(axis=1)
    inside &= ~movie.surroundings.obscured(points)
    return Response(points[inside], heights[inside])


def _respond(
    movie: MovieTruth, transform: Tensor, shape: tuple[int, ...], step: float, volume: Tensor, diameter: float
) -> Tensor:
    k_row, k_column = rfft_frequencies((shape[0], shape[1]), step)
    k = torch.sqrt(k_row**2 + k_column**2)
    power = _average_rings(transform.abs() ** 2, k * step * shape[0])
    transfer = ctf_rfft(ctf_model(movie.optics), (shape[0], shape[1]), step) * torch.exp(-B_FACTOR / 4 * k**2)
    band = ((k > 1 / (1.5 * diameter)) & (k < 0.45 / step)).float()
    whitened, weight = transform * transfer / power * band, transfer**2 / power * band
    side = int(volume.shape[0] * movie.pixel_size / step) // 2 * 2
    views = MapViews(crop_map(volume, side), step)
    best = torch.full((shape[0], shape[1]), -math.inf)
    number = np.arange(VIEWS)
    tilt, rot = np.degrees(np.arccos(1 - 2 * (number + 0.5) / VIEWS)), np.degrees(number * math.pi * (3 - math.sqrt(5))) % 360
    for a, b in zip(rot, tilt, strict=True):
        frames = euler_matrices(np.full(TURNS, a), np.full(TURNS, b), np.arange(TURNS) * 360 / TURNS)[:, :2]
        images = torch.fft.irfft2(views.project(frames), s=(side, side)).roll((side // 2, side // 2), (1, 2))
        canvas = torch.zeros(TURNS, shape[0], shape[1])
        canvas[:, :side, :side] = images
        reference = torch.fft.rfft2(canvas.roll((-(side // 2), -(side // 2)), (1, 2)))
        norm = (reference.abs() ** 2 * weight).sum((1, 2)).sqrt()
        answers = torch.fft.irfft2(whitened * reference.conj(), s=(shape[0], shape[1])) / norm[:, None, None]
        best = torch.maximum(best, answers.amax(0))
    return best


def _crop(transform: Tensor, shape: tuple[int, ...]) -> Tensor:
    half = shape[0] // 2
    return torch.cat([transform[:half, : shape[1] // 2 + 1], transform[-half:, : shape[1] // 2 + 1]])


def _average_rings(power: Tensor, radius: Tensor) -> Tensor:
    """The mean of power over rings of 8 cells, between whose middles it is interpolated."""
    ring = radius / 8
    index = ring.long().flatten()
    count = int(index.max()) + 2
    sums = torch.zeros(count).index_add_(0, index, power.flatten())
    means = sums / torch.zeros(count).index_add_(0, index, torch.ones(len(index))).clamp(min=1)
    means[-1] = means[-2]
    lower = (ring - 0.5).clamp(min=0)
    low = lower.long()
    part = lower - low
    return means[low] * (1 - part) + means[low + 1] * part
