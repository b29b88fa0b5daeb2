"""Fields of particles at the scale at which a network picks, with their truth: a hundred a few seconds, none like another.

No movies, no dose: a picture of density through a CTF, noise of several colours, and dirt. Every value is drawn from a range
wider than what is met, and no unit is kept: a network that knows these fields has no reason to trust in any one of them.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import CtfModel, ctf_rfft
from magellon.simulation.noise_colours import draw_colour, fall, shape_noise
from magellon.simulation.picking_dirt import Dirt, draw_dirt
from magellon.simulation.random_shapes import Shape, draw_shape, random_rotations

Array = NDArray[np.float64]
NOMINAL_CELLS = 16
"""Diameter that is said to the picker; the true one differs."""
MARGIN = 32
"""Cells of the canvas beyond the field, so that its borders cut through particles."""
MOST_DIRT = 0.5
"""Of the field; more is drawn again."""
LOW_PASSED = 0.12
"""Part of the fields that somebody filtered, as denoising does."""


@dataclass(frozen=True)
class PickingScene:
    """A field and what is true of it.

    Attributes:
        image: (size, size) float32, dark particles, in units of nothing.
        centres: (n, 2), (y, x) in cells, of what is to be picked.
        doubtful: (m, 2), of what may be picked or not: broken particles, and those that something covers in part.
        dirt: (size, size) bool, where nothing is to be picked.
        snr: signal over noise in a cell of a particle; 0 without particles.
    """

    image: NDArray[np.float32]
    centres: Array
    doubtful: Array
    dirt: NDArray[np.bool_]
    snr: float


@dataclass
class _Canvas:
    """Where everything is added up; it has no borders, but joins at its sides."""

    size: int
    density: NDArray[np.float64]

    def add(self, shape: Shape, centres: Array, rotations: Array, diameters: Array, masses: Array) -> None:
        """Splat copies of a shape, each with a mass, linearly shared between cells."""
        if not len(centres):
            return
        to_cells = (rotations[:, 1::-1] * diameters[:, None, None]).astype(np.float32)
        where = shape.points @ np.swapaxes(to_cells, 1, 2) + centres[:, None].astype(np.float32)
        whole = np.floor(where).astype(np.int32)
        part = where - whole.astype(np.float32)
        weights = shape.weights[None] * masses[:, None].astype(np.float32)
        sums = torch.zeros(self.size**2)
        for down in (0, 1):
            for right in (0, 1):
                y, x = (whole[..., 0] + down) % self.size, (whole[..., 1] + right) % self.size
                shares = weights * np.abs(1 - down - part[..., 0]) * np.abs(1 - right - part[..., 1])
                sums.index_add_(0, torch.from_numpy((y * self.size + x).ravel()), torch.from_numpy(shares.ravel()))
        self.density += sums.numpy().reshape(self.size, self.size)


def draw_scene(
    rng: np.random.Generator,
    size: int = 160,
    faintest: float = 0.5,
    empty: float = 0.15,
    sparse: float = 0.0,
    faint: float = 0.25,
    crowds: bool = True,
) -> PickingScene:
    """A field of `size` cells, in which the particle is said to be 16 cells wide.

    Args:
        faintest: least signal over noise in a cell of a particle.
        faint: part of the fields in which it is surely below 1.2; in the others it reaches 6.
        empty: part of the fields without particles.
        sparse: part of the others with down to a tenth of the particles.
        crowds: whether small proteins may be many where there are no particles. To a picker that is told one diameter such a
            field looks like one of small, faint particles.
    """
    canvas = _Canvas(size + MARGIN, np.zeros((size + MARGIN, size + MARGIN)))
    # Mostly the diameter is about right; where it is wrong, the picks must not fall apart.
    low, high = (0.92, 1.08) if rng.random() < 0.4 else (0.74, 1.35)
    cells = NOMINAL_CELLS * math.exp(rng.uniform(math.log(low), math.log(high)))
    dirt = _draw_dirt(rng, canvas.size, cells)
    shape = draw_shape(rng)
    centres, doubtful = _place_wanted(rng, canvas, shape, dirt, (cells, empty, sparse))
    wanted = canvas.density.copy()
    clumps = _place_unwanted(rng, canvas, shape, centres, (cells, crowds))
    if len(clumps):
        dirt.mask |= _near(clumps, canvas.size, 0.45 * cells)
        doubtful = np.concatenate([doubtful, centres[_within(centres, dirt.mask)]])
        centres = centres[~_within(centres, dirt.mask)]
    brightest = max(1.2, 1.5 * faintest) if rng.random() < faint else 6.0
    snr = math.exp(rng.uniform(math.log(faintest), math.log(brightest)))
    image, seen = _expose(rng, canvas, wanted, dirt, cells, np.concatenate([centres, doubtful]), snr)
    corner = MARGIN // 2
    field = slice(corner, corner + size)
    mask = dirt.mask[field, field]
    return PickingScene(
        np.ascontiguousarray(image[field, field]),
        centres - corner,
        doubtful - corner,
        np.ascontiguousarray(mask),
        snr if seen else 0.0,
    )


def draw_bare(rng: np.random.Generator, size: int = 160) -> PickingScene:
    """A field that is nothing but noise, of any colour."""
    k_row, k_column = rfft_frequencies((size, size))
    cycles = torch.sqrt(k_row**2 + k_column**2) * NOMINAL_CELLS
    pixel_size = math.exp(rng.uniform(math.log(70), math.log(450))) / NOMINAL_CELLS
    noise = shape_noise(rng, (size, size), draw_colour(rng, cycles, _draw_ctf(rng, size, pixel_size), plain=0.2))
    nothing = np.zeros((0, 2))
    return PickingScene(noise.numpy(), nothing, nothing, np.zeros((size, size), dtype=bool), 0.0)


def _draw_dirt(rng: np.random.Generator, size: int, cells: float) -> Dirt:
    while True:
        dirt = draw_dirt(rng, size, cells)
        if dirt.mask.mean() <= MOST_DIRT:
            return dirt


def _place_wanted(
    rng: np.random.Generator, canvas: _Canvas, shape: Shape, dirt: Dirt, ask: tuple[float, float, float]
) -> tuple[Array, Array]:
    """Put particles where there is no dirt: centres of the whole ones, and of broken ones and those at the dirt's edge.

    Args:
        ask: the particle's diameter in cells, how probable it is that there is none, and that there are few.
    """
    cells, empty, sparse = ask
    if rng.random() < empty:
        return np.zeros((0, 2)), np.zeros((0, 2))
    apart = cells * _choose(rng, ((0.35, 0.45, 0.65), (0.4, 0.65, 1.0), (0.25, 1.0, 2.5)))
    fullness = 0.03 + rng.random() ** 1.6
    if sparse and rng.random() < sparse:
        fullness *= math.exp(rng.uniform(math.log(0.1), 0))
    centres = _scatter(rng, canvas.size, apart, fullness)
    on_dirt = _within(centres, dirt.mask)
    # Some particles lie on carbon; a person leaves them there.
    centres = centres[~on_dirt | (rng.random(len(centres)) < rng.choice([0.0, 0.5]))]
    count = len(centres)
    rotations = _draw_rotations(rng, count)
    diameters = cells * (1 + rng.normal(0, 0.02, count))
    masses = rng.normal(1, rng.uniform(0, 0.15), count).clip(0.5, 1.5)
    doubtful = _within(centres, _near_mask(dirt.mask, 0.3 * cells))
    broken = rng.random(count) < rng.choice([0, 0.05])
    canvas.add(shape, centres[~broken], rotations[~broken], diameters[~broken], masses[~broken])
    for each in np.flatnonzero(broken):
        _add_broken(rng, canvas, shape, centres[each], rotations[each], cells)
    on_dirt = _within(centres, dirt.mask)
    doubtful = (doubtful | broken) & ~on_dirt
    return centres[~doubtful & ~on_dirt], centres[doubtful]


def _add_broken(rng: np.random.Generator, canvas: _Canvas, shape: Shape, centre: Array, rotation: Array, cells: float) -> None:
    normal = rng.normal(size=3)
    kept = shape.points @ (normal / np.linalg.norm(normal)) <= rng.uniform(-0.15, 0.1)
    part = Shape(shape.family, shape.points[kept], shape.weights[kept])
    canvas.add(part, centre[None], rotation[None], np.array([cells]), np.ones(1))


def _draw_rotations(rng: np.random.Generator, count: int) -> Array:
    """Uniform, or some of them near one of a few views, turned in the plane."""
    rotations = random_rotations(rng, count)
    if rng.random() < 0.5:
        return rotations
    views = random_rotations(rng, int(rng.integers(1, 4)))
    preferred = _turn(rng, count) @ views[rng.integers(0, len(views), count)]
    chosen = rng.random(count) < rng.uniform(0.3, 1)
    return np.where(chosen[:, None, None], preferred, rotations)


def _place_unwanted(rng: np.random.Generator, canvas: _Canvas, shape: Shape, centres: Array, ask: tuple[float, bool]) -> Array:
    """Denatured, small and large foreign proteins among the wanted ones; aggregates, whose members' places are returned.

    Args:
        ask: the particle's diameter in cells, and whether small ones may be many where there are no particles.
    """
    cells, crowds = ask
    free = _scatter(rng, canvas.size, 1.1 * cells, rng.uniform(0.1, 0.5))
    if len(centres) and len(free):
        gap = np.abs(free[:, None] - centres[None])
        gap = np.minimum(gap, canvas.size - gap)
        free = free[np.hypot(gap[..., 0], gap[..., 1]).min(axis=1) > 0.75 * cells]
    kinds = ((_draw_denatured, 0.35, 0.3), (_draw_small, 0.3, 0.3), (_draw_other, 0.25, 0.08), (_draw_large, 0.06, 0.1))
    for draw, how_often, most in kinds:
        if rng.random() >= how_often:
            continue
        count = max(1, round(rng.uniform(0.02, most) * (len(centres) + 8)))
        chosen, free = free[:count], free[count:]
        if draw is _draw_small and (crowds or len(centres)):  # nothing keeps small ones from lying on large ones
            chosen = np.concatenate([chosen, rng.uniform(0, canvas.size, (int(rng.integers(0, 60)), 2))])
        for part in np.array_split(chosen, 2):
            other, ratio, mass = draw(rng)
            sizes = cells * ratio * rng.uniform(0.9, 1.1, len(part))
            rotations = random_rotations(rng, len(part)) if draw is not _draw_denatured else _turn(rng, len(part))
            canvas.add(other, part, rotations, sizes, mass * rng.uniform(0.7, 1.2, len(part)))
    if rng.random() < 0.15:
        return np.concatenate([_add_aggregate(rng, canvas, shape, cells) for _ in range(int(rng.integers(1, 4)))])
    return np.zeros((0, 2))


def _draw_denatured(rng: np.random.Generator) -> tuple[Shape, float, float]:
    """The same mass in flat, shapeless lumps; with its size and mass relative to the particle's."""
    count, number = 300, int(rng.integers(3, 10))
    lumps = rng.normal(0, rng.uniform(0.18, 0.3), (number, 3)) * np.array([1, 1, 0.2])
    width = rng.uniform(0.08, 0.14)
    points = lumps[rng.integers(0, number, count)] + rng.normal(0, 1, (count, 3)) * np.array([width, width, 0.05])
    lump = Shape("denatured", points.astype(np.float32), np.full(count, 1 / count, dtype=np.float32))
    return lump, rng.uniform(0.8, 1.6), rng.uniform(0.4, 1.1)


def _draw_small(rng: np.random.Generator) -> tuple[Shape, float, float]:
    """A fragment or another, smaller protein; its mass falls with its volume."""
    ratio = rng.uniform(0.2, 0.55)
    return draw_shape(rng, "globular"), ratio, ratio**2.5


def _draw_other(rng: np.random.Generator) -> tuple[Shape, float, float]:
    """Another protein, so much smaller or larger that it can be told from the wanted one."""
    ratio = rng.uniform(0.5, 0.72) if rng.random() < 0.7 else rng.uniform(1.4, 1.9)
    return draw_shape(rng), ratio, ratio**2.5


def _draw_large(rng: np.random.Generator) -> tuple[Shape, float, float]:
    ratio = rng.uniform(1.8, 3.0)
    return draw_shape(rng), ratio, ratio**2.5


def _turn(rng: np.random.Generator, count: int) -> Array:
    """Rotations in the plane (count, 3, 3)."""
    turn = rng.uniform(0, 2 * math.pi, count)
    zero, one = np.zeros(count), np.ones(count)
    rows = [[np.cos(turn), -np.sin(turn), zero], [np.sin(turn), np.cos(turn), zero], [zero, zero, one]]
    return np.moveaxis(np.array(rows), -1, 0)


def _add_aggregate(rng: np.random.Generator, canvas: _Canvas, shape: Shape, cells: float) -> Array:
    """A heap of particles, one above the other."""
    count = int(rng.integers(8, 40))
    steps = rng.normal(0, cells * rng.uniform(0.15, 0.35), (count, 2))
    places = rng.uniform(0, canvas.size, 2) + np.cumsum(steps, axis=0) * rng.uniform(0.5, 1)
    ones = np.ones(count)
    canvas.add(shape, places, random_rotations(rng, count), cells * ones, rng.uniform(0.5, 1.2, count))
    return places


def _expose(
    rng: np.random.Generator, canvas: _Canvas, wanted: Array, dirt: Dirt, cells: float, centres: Array, snr: float
) -> tuple[NDArray[np.float32], bool]:
    """From density to a picture, and whether it shows particles: CTF, noise, uneven ice, the beam."""
    size = canvas.size
    diameter = math.exp(rng.uniform(math.log(70), math.log(450 if rng.random() < 0.85 else 1000)))
    k_row, k_column = rfft_frequencies((size, size))
    k = torch.sqrt(k_row**2 + k_column**2)
    ctf = _draw_ctf(rng, size, diameter / cells)
    blur = torch.exp(-2 * (math.pi * rng.uniform(0.4, 0.9)) ** 2 * k**2) * ctf

    def through(image: NDArray[np.floating]) -> NDArray[np.float32]:
        transform = torch.fft.rfft2(torch.from_numpy(image.astype(np.float32)))
        return np.asarray(torch.fft.irfft2(transform * blur, s=(size, size)).numpy())

    flat_mass = 1 / (math.pi * (cells / 2) ** 2)
    signal = through(wanted / flat_mass)
    near = _near(centres, size, 0.4 * cells) if len(centres) else np.zeros((size, size), dtype=bool)
    strength = float(np.sqrt(np.mean(signal[near] ** 2))) if near.any() else abs(float(blur[0, 1]))
    strength = max(strength, 1e-6)
    picture = through(canvas.density / flat_mass + dirt.phase) / strength
    # Absorption is a part of what the phase of the same thing gives where the CTF lets it pass.
    picture -= dirt.absorption * rng.uniform(0.3, 1.2)
    cycles = k * cells
    noise, grainy = (shape_noise(rng, (size, size), draw_colour(rng, cycles, ctf)).numpy() for _ in range(2))
    uneven = _draw_uneven(rng, size, cells)
    shots = 1 + 0.3 * np.clip(dirt.grain, -1, 0)
    picture = picture * snr + noise * shots + grainy * np.clip(dirt.grain, 0, None) + uneven
    brightness = rng.uniform(15, 80)
    picture = (brightness + picture) * dirt.beam
    if rng.random() < LOW_PASSED:
        passed = fall(cycles, math.exp(rng.uniform(math.log(2), math.log(8))), rng.uniform(1, 4))
        picture = torch.fft.irfft2(torch.fft.rfft2(torch.from_numpy(picture)) * passed, s=(size, size)).numpy()
    if rng.random() < 0.2:
        picture += _draw_dead_lines(rng, size)
    if rng.random() < 0.3:  # what looks at the image before the network may have limited it
        low, high = np.quantile(picture, [rng.uniform(0, 0.002), 1 - rng.uniform(0, 0.002)])
        picture = picture.clip(low, high)
    return picture.astype(np.float32), bool(near.any())


def _draw_dead_lines(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Rows and columns of the camera that were not mended, in noise's standard deviations: one or two cells share each."""
    lines = np.zeros((size, size), dtype=np.float32)
    for _ in range(int(rng.integers(1, 4))):
        at, share = int(rng.integers(size - 1)), rng.random()
        ends = np.sort(rng.integers(0, size, 2)) if rng.random() < 0.2 else (0, size)
        strength = math.exp(rng.uniform(math.log(0.5), math.log(12))) * (-1 if rng.random() < 0.8 else 1)
        lines[at : at + 2, ends[0] : ends[1]] += strength * np.array([[share], [1 - share]], dtype=np.float32)
        lines = lines.T if rng.random() < 0.7 else lines
    return np.ascontiguousarray(lines)


def _draw_ctf(rng: np.random.Generator, size: int, pixel_size: float) -> torch.Tensor:
    defocus = 1e4 * math.exp(rng.uniform(math.log(0.3), math.log(4.5)))
    plate = rng.uniform(20, 140) if rng.random() < 0.06 else 0.0
    voltage = float(rng.choice([300.0, 200.0, 120.0], p=[0.6, 0.3, 0.1]))
    model = CtfModel(
        defocus * rng.uniform(1, 1.05), defocus, rng.uniform(0, 180), plate, voltage, 2.7, float(rng.uniform(0.05, 0.2))
    )
    return ctf_rfft(model, (size, size), pixel_size)


def _draw_uneven(rng: np.random.Generator, size: int, cells: float) -> NDArray[np.float32]:
    """Ice that is thicker here than there, in noise's standard deviations: a slope, waves."""
    line = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    slope = math.exp(rng.uniform(math.log(0.1), math.log(20)))
    angle = rng.uniform(0, 2 * math.pi)
    total = slope * (math.cos(angle) * line[:, None] + math.sin(angle) * line[None, :])
    if rng.random() < 0.4:
        total = total + slope * rng.uniform(-1, 1) * (line[:, None] ** 2 + line[None, :] ** 2)
    if rng.random() < 0.6:
        length = cells * math.exp(rng.uniform(math.log(0.8), math.log(5)))
        k_row, k_column = rfft_frequencies((size, size))
        white = torch.from_numpy(rng.standard_normal((size, size), dtype=np.float32))
        waves = torch.fft.irfft2(torch.fft.rfft2(white) * torch.exp(-((k_row**2 + k_column**2) * (math.pi * length) ** 2)))
        total = total + np.asarray((waves / waves.std()).numpy()) * math.exp(rng.uniform(math.log(0.1), math.log(3)))
    return np.asarray(total, dtype=np.float32)


def _choose(rng: np.random.Generator, choices: tuple[tuple[float, float, float], ...]) -> float:
    """A value between the limits of one of some (share, low, high)."""
    _, low, high = choices[int(rng.choice(len(choices), p=[choice[0] for choice in choices]))]
    return float(rng.uniform(low, high))


def _scatter(rng: np.random.Generator, size: int, apart: float, fullness: float) -> Array:
    """Points (n, 2) on the canvas no nearer than `apart`, up to a share of as many as random placing gets in.

    Of candidates in random order each stays that has no earlier one that stays too near: decided in rounds, all at once.
    """
    points = rng.uniform(0, size, (max(1, int(3 * fullness * (size / apart) ** 2)), 2))
    pairs = cKDTree(points, boxsize=np.full(2, float(size))).query_pairs(apart, output_type="ndarray")
    earlier, later = pairs.min(axis=1), pairs.max(axis=1)
    kept, open_ = np.zeros(len(points), dtype=bool), np.ones(len(points), dtype=bool)
    while open_.any():
        blocked = np.zeros(len(points), dtype=bool)
        blocked[later[open_[earlier] & open_[later]]] = True
        winners = open_ & ~blocked
        kept |= winners
        open_ &= ~winners
        open_[later[winners[earlier]]] = False
    return points[kept]


def _near(points: Array, size: int, radius: float) -> NDArray[np.bool_]:
    """Cells (size, size) within a radius of any of the points; the canvas joins at its sides."""
    marks = np.zeros((size, size), dtype=bool)
    whole = np.rint(points).astype(np.int64) % size
    marks[whole[:, 0], whole[:, 1]] = True
    return _near_mask(marks, radius)


def _near_mask(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    if not mask.any():
        return mask
    size = len(mask)
    line = torch.fft.fftfreq(size) * size
    disc = ((line[:, None] ** 2 + line[None, :] ** 2) <= radius**2).float()
    product = torch.fft.rfft2(torch.from_numpy(mask).float()) * torch.fft.rfft2(disc)
    return np.asarray((torch.fft.irfft2(product, s=(size, size)) > 0.5).numpy())


def _within(points: Array, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    whole = np.rint(points).astype(np.int64) % len(mask)
    return np.asarray(mask[whole[:, 0], whole[:, 1]])
