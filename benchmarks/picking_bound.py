"""How well particles could be picked by whoever knows the protein: a bound that tells faint particles from a weak picker.

A matched filter (Turin 1960, doi:10.1109/TIT.1960.1057571) with projections of the true map in many directions, the true CTF,
the noise's own spectrum found where the truth says that there are no particles, the true beam divided out, what hides particles
cut out by the truth, and the one threshold that is best for the truth. A picker that has never seen the protein knows none of
this.

Measured on the micrographs of `particle_picking`, four each of 2xhe and 7cfn at 25 e/Å², 16 at 50:

| exposure | F1 | without false picks on denatured and foreign proteins | recall | centring | threshold |
|---|---|---|---|---|---|
| 25 e/Å² | 0.970/0.974 | 0.986/0.994 | 0.98/0.99 | 3.9/4.0 Å | 5.8/6.2 σ |
| 50 e/Å² | 0.973/0.984 | 0.986/0.989 | 0.97/0.98 | 2.9/3.6 Å | 6.7/6.8 σ |

Standard errors of F1 are 0.002 and 0.014 at 25 e/Å², 0.006 and 0.005 at 50. Where the beam is not known and 80 Å about dirt are
cut out with it, F1 is 0.944/0.956 at 25 e/Å²; where the beam is known and 80 Å are cut out, 0.956/0.965 at 50, less than that
of the picker. The bound is a little too low still: at 2.2 µm side lobes of the filter are picked, and its views are 20 degrees
apart.
"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.particle_picking import EXPOSURES, MANY, SMALL, STRUCTURES, UNSEEN, Case, f1_error, make_case
from benchmarks.table import Row
from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import ctf_rfft
from magellon.algorithms.picking.field import smooth
from magellon.algorithms.picking.peaks import find_maxima, suppress_neighbours
from magellon.algorithms.picking.templates import crop_map
from magellon.io.mrc import read_mrc
from magellon.simulation.map_views import MapViews
from magellon.simulation.movie import ctf_model
from magellon.simulation.projection import euler_matrices
from magellon.simulation.score import NO_PICKS, PickScore, score_picks
from magellon.simulation.surroundings import render_beam
from magellon.simulation.truth import MovieTruth

PIXEL = 4.0
"""Å: micrographs and map are reduced to this."""
VIEWS, TURNS = 60, 24
B_FACTOR = 220.0
"""Å²: how detail fades by vibration and dose; about what was seen by comparing these micrographs with true projections."""
EDGE = 30.0
"""Å about what hides particles that are cut out with it."""
LIT = 0.5
"""Of the beam's brightness: where there is less, nothing is looked for."""
CLIP = 4.0
FAINTEST = 2.0
"""Standard deviations."""


@dataclass(frozen=True)
class Response:
    """Maxima of a micrograph: (n, 2) pixels (x, y) and their height over the noise, none near a higher one."""

    points: NDArray[np.float64]
    heights: NDArray[np.float64]


def run(work: Path, quick: bool) -> list[Row]:
    """The small proteins of the picking benchmark, on its very micrographs; with `quick` one of each, at one exposure."""
    rows = []
    for name in SMALL:
        file, pixel_size = UNSEEN[name]
        if not (STRUCTURES / file).is_file():
            continue
        folder = work.resolve() / name
        rows += measure_bound(make_case(folder, STRUCTURES / file, pixel_size, 1 if quick else 4))
        if not quick:
            folder = work.resolve() / f"{name}-{EXPOSURES[1]:g}"
            rows += measure_bound(make_case(folder, STRUCTURES / file, pixel_size, exposure=EXPOSURES[1], **MANY))
    return rows


def measure_bound(case: Case) -> list[Row]:
    """The matched filter at its best threshold; and as if what is no wanted protein did not look like one."""
    began = time.process_time()
    volume = torch.from_numpy(read_mrc(case.folder / "truth" / "phantom_0.mrc"))
    images = [torch.from_numpy(read_mrc(item.micrograph.path)) for item in case.inputs]
    found = [match(movie, image, volume, case.diameter) for movie, image in zip(case.truth.movies, images, strict=True)]
    seconds = (time.process_time() - began) / len(found)
    forgiving = [_forgive(movie, each, case.diameter) for movie, each in zip(case.truth.movies, found, strict=True)]
    rows = []
    for name, each in (("matched filter that knows the protein", found), ("the same, told what is foreign", forgiving)):
        threshold, scores = find_threshold(case, each)
        score = sum(scores, NO_PICKS)
        accuracy = {
            "F1": score.f1,
            "F1 error": f1_error(scores),
            "precision": score.precision,
            "recall": score.recall,
            "centring RMS (Å)": score.centring_rms,
            "threshold (σ)": threshold,
        }
        rows.append(Row("picking_bound", name, case.label, len(found), seconds, seconds, 0.0, accuracy))
    return rows


def find_threshold(case: Case, found: list[Response]) -> tuple[float, list[PickScore]]:
    """The one threshold for all micrographs that is best for the truth, and each one's score at it."""
    choices = []
    for threshold in np.arange(FAINTEST, 12, 0.1):
        pairs = zip(case.truth.movies, found, strict=True)
        scores = [score_picks(movie, each.points[each.heights >= threshold], case.diameter) for movie, each in pairs]
        choices.append((float(threshold), scores))
    return max(choices, key=lambda choice: sum(choice[1], NO_PICKS).f1)


def _forgive(movie: MovieTruth, found: Response, diameter: float) -> Response:
    """Without what lies on denatured and foreign proteins, where no wanted one is as near."""
    particles = movie.particles
    other = np.isin(particles.kind, ("denatured", "foreign"))
    if not other.any():
        return found
    away = np.hypot(*(found.points[:, None] - particles.points_px[None]).transpose(2, 0, 1))
    kept = ~((away[:, other].min(axis=1) < 0.6 * diameter / movie.pixel_size) & other[away.argmin(axis=1)])
    return Response(found.points[kept], found.heights[kept])


def match(movie: MovieTruth, image: Tensor, volume: Tensor, diameter: float) -> Response:
    """The greatest response of all views and turns, where nothing hides particles.

    Args:
        image: (height, width).
        volume: the true map at the movie's pixel size.
        diameter: Å.
    """
    pixel_size = movie.pixel_size
    height, width = image.shape
    shape = int(height * pixel_size / PIXEL) // 2 * 2, int(width * pixel_size / PIXEL) // 2 * 2
    step = height * pixel_size / shape[0]
    y, x = (torch.arange(side) for side in shape)
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
    pixels = ((places + 0.5) * step / pixel_size - 0.5).double().numpy()
    hidden = torch.from_numpy(replace(movie.surroundings, beam=None).obscured(pixels)).reshape(1, 1, *shape).float()
    reach = round(EDGE / step)
    open_ = 1 - torch.nn.functional.max_pool2d(hidden, 2 * reach + 1, stride=1, padding=reach)[0, 0]
    beam = render_beam(movie)
    if beam is not None:
        open_ *= torch.nn.functional.interpolate(beam[None, None], size=shape, mode="area")[0, 0] > LIT
        image = image / beam.clamp(min=LIT)
    seen = torch.nn.functional.interpolate(open_[None, None], size=image.shape)[0, 0] > 0
    small = _reduce(torch.where(seen, image, image[seen].median()), shape)
    blur = 1.5 * diameter / step
    small = small - small[open_ > 0].median()
    small = (small - smooth(small * open_, blur) / (smooth(open_, blur) + 1e-3)) * open_
    small = small / small[open_ > 0].std()
    small = small.clamp(-CLIP, CLIP)
    particles = movie.particles.points_px
    away = open_ * _away(shape, (particles + 0.5) * pixel_size / step - 0.5, 0.6 * diameter / step)
    best = _respond(movie, small, away, step, volume, diameter)
    cells, _ = find_maxima(best, best > FAINTEST, 2)
    heights = best[cells[:, 0], cells[:, 1]]
    order = torch.sort(heights, descending=True, stable=True).indices
    cells, heights = cells[order], heights[order]
    kept = suppress_neighbours(cells.double(), 0.5 * diameter / step)
    points = ((cells[kept].double() + 0.5) * step / pixel_size - 0.5).flip(1).numpy()
    strengths = heights[kept].double().numpy()
    margin = diameter / 2 / pixel_size
    inside = ((points >= margin) & (points <= np.array([width, height]) - 1 - margin)).all(axis=1)
    inside &= ~movie.surroundings.obscured(points)
    return Response(points[inside], strengths[inside])


def _reduce(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """Fewer pixels by cropping the transform, moved so that pixels cover what they did; no frequency is weakened."""
    transform = torch.fft.rfft2(image - image.mean())
    half = shape[0] // 2
    cropped = torch.cat([transform[:half, : shape[1] // 2 + 1], transform[-half:, : shape[1] // 2 + 1]])
    move = [0.5 * (whole / few - 1) / whole for whole, few in zip(image.shape, shape, strict=True)]
    rows, columns = torch.fft.fftfreq(shape[0], 1 / shape[0])[:, None], torch.arange(shape[1] // 2 + 1)[None]
    cropped = cropped * torch.exp(2j * math.pi * (rows * move[0] + columns * move[1]))
    reduced: Tensor = torch.fft.irfft2(cropped, s=shape) * (math.prod(shape) / image.numel())
    return reduced


def _away(shape: tuple[int, int], points: NDArray[np.float64], radius: float) -> Tensor:
    """(height, width) 1 farther than `radius` from all points (n, 2), (x, y), else 0."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    near = np.zeros(shape, dtype=bool)
    for px, py in points:
        near |= (x - px) ** 2 + (y - py) ** 2 < radius**2
    return torch.from_numpy(~near).float()


def _respond(movie: MovieTruth, image: Tensor, noise: Tensor, step: float, volume: Tensor, diameter: float) -> Tensor:
    shape = (image.shape[0], image.shape[1])
    k_row, k_column = rfft_frequencies(shape, step)
    k = torch.sqrt(k_row**2 + k_column**2)
    only = image * noise
    only = only - only.sum() / noise.sum() * noise
    power = _average_rings(torch.fft.rfft2(only).abs() ** 2 / noise.mean(), k * step * shape[0])
    transfer = ctf_rfft(ctf_model(movie.optics), shape, step) * torch.exp(-B_FACTOR / 4 * k**2)
    band = ((k > 1 / (1.5 * diameter)) & (k < 0.45 / step)).float()
    whitened, weight = torch.fft.rfft2(image) * transfer / power * band, transfer**2 / power * band
    weight[:, 1:] *= 2
    side = int(volume.shape[0] * movie.pixel_size / step) // 2 * 2
    views = MapViews(crop_map(volume, side), step)
    best, spread = torch.full(shape, -math.inf), 0.0
    number = np.arange(VIEWS)
    tilt, rot = np.degrees(np.arccos(1 - 2 * (number + 0.5) / VIEWS)), np.degrees(number * math.pi * (3 - math.sqrt(5))) % 360
    for a, b in zip(rot, tilt, strict=True):
        frames = euler_matrices(np.full(TURNS, a), np.full(TURNS, b), np.arange(TURNS) * 360 / TURNS)[:, :2]
        images = torch.fft.irfft2(views.project(frames), s=(side, side)).roll((side // 2, side // 2), (1, 2))
        canvas = torch.zeros(TURNS, *shape)
        canvas[:, :side, :side] = images
        reference = torch.fft.rfft2(canvas.roll((-(side // 2), -(side // 2)), (1, 2)))
        # Noise gives a standard deviation of 1.
        norm = (reference.abs() ** 2 * weight).sum((1, 2)).sqrt() / math.prod(shape)
        answers = torch.fft.irfft2(whitened * reference.conj(), s=shape) / norm[:, None, None]
        best = torch.maximum(best, answers.amax(0))
        spread = spread or float(answers[:, noise > 0].std())
    return best / spread


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
