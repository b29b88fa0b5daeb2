"""A bank of projected particles on a coarse grid, quickly made and of endless variety: phantoms, and shapes drawn at random.

A network that has to cope with particles nobody has seen yet must not learn eight proteins. So most of the bank are clouds of
points with protein's density: lumps of ellipsoids, shells, tubes, rings, flexible chains and membranes of any size. A third are
phantoms of plans drawn at random, which are packed with helices as proteins are, in one of the symmetries that these have.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magellon.simulation.phantoms import AtomicModel, Domain, Plan, build_model, build_phantom, phantom_names
from magellon.simulation.projection import Grid, euler_matrices, fitting_box, project_atoms
from magellon.simulation.symmetry import symmetry_operators

Array = NDArray[np.float64]

PROTEIN_CONTRAST = (1.5, 3.5)
"""Mean potential above that of ice, V: loosely packed protein to nucleic acid."""
_POINT_VOLUME = 30.0
"""Å³ for each point of a cloud, so that its density is as uneven as a protein's at this resolution."""
_MOST_POINTS = 50_000
_BUILT = 1 / 3
"""Of the random shapes: phantoms instead of clouds."""
_SYMMETRIES = ("C1", "C1", "C1", "C2", "C3", "C4", "C5", "C6", "D2", "D3", "D4", "D5", "D6", "D7", "T", "O")


@dataclass(frozen=True)
class Silhouette:
    """One view of one particle."""

    potential: Tensor
    """(box, box), V Å, centred at [box // 2, box // 2]."""
    extent: float
    """Longest extent, Å."""


@dataclass(frozen=True)
class Cloud:
    """Points (n, 3) in Å about their middle, each standing for the same `volume` in Å³."""

    points: Array
    volume: float


def make_bank(
    rng: np.random.Generator, pixel_size: float, shapes: int, views: int, left_out: Sequence[str] = ()
) -> list[list[Silhouette]]:
    """So many views of each of `shapes` random shapes and of all phantoms but those left out, the latter in two sizes."""
    bank, names = [], [name for name in phantom_names() if name not in left_out]
    for name in (*names, *names):
        scale = float(rng.uniform(0.7, 1.4))
        bank.append([_project_phantom(rng, build_phantom(name), scale, pixel_size) for _ in range(views)])
    for _ in range(shapes):
        if rng.random() < _BUILT:
            model, scale = build_model("random", draw_plan(rng), rng), float(rng.uniform(0.8, 1.25))
            bank.append([_project_phantom(rng, model, scale, pixel_size) for _ in range(views)])
        else:
            cloud, strength = draw_cloud(rng), float(rng.uniform(*PROTEIN_CONTRAST))
            bank.append([project_cloud(rng, cloud, strength, pixel_size) for _ in range(views)])
    return bank


def draw_plan(rng: np.random.Generator) -> Plan:
    """A phantom: domains that touch, the first one so far from the axes that it about touches its copies."""
    symmetry = str(rng.choice(_SYMMETRIES))
    copies = len(symmetry_operators(symmetry))
    size = math.exp(rng.uniform(math.log(14), math.log(44 if copies == 1 else 32)))
    place = _directions(rng, 1)[0] * size * float(rng.uniform(0.7, 1.1)) * math.sqrt(copies) / 2
    if symmetry[0] in "CD" and copies > 1:
        folds, angle = int(symmetry[1:]), float(rng.uniform(0, 2 * math.pi))
        distance = size * float(rng.uniform(0.7, 1.1)) / math.sin(math.pi / folds)
        height = size * float(rng.uniform(0.5, 1.5)) if symmetry[0] == "D" else 0.0
        place = np.array([distance * math.cos(angle), distance * math.sin(angle), height])
    domains: list[Domain] = []
    for _ in range(int(rng.integers(2, 10)) if copies == 1 else int(rng.integers(1, 5))):
        if domains:
            place = np.array(domains[int(rng.integers(len(domains)))].centre) + 1.3 * size * _directions(rng, 1)[0]
        axes = size * rng.uniform(0.7, 1.4, 3)
        domains.append(Domain(_triple(place), _triple(axes), _triple(_directions(rng, 1)[0])))
    return Plan(symmetry, tuple(domains))


def draw_cloud(rng: np.random.Generator) -> Cloud:
    """A shape of some kind."""
    draw = _KINDS[int(rng.choice(len(_KINDS), p=_CHANCES))]
    cloud = draw(rng)
    return Cloud(cloud.points - cloud.points.mean(axis=0), cloud.volume)


def project_cloud(rng: np.random.Generator, cloud: Cloud, strength: float, pixel_size: float) -> Silhouette:
    """A random view of a cloud that lies `strength` volts above ice."""
    turned = cloud.points @ _random_rotation(rng)
    extent = 2 * float(np.linalg.norm(turned, axis=1).max()) + 6
    box = 2 * math.ceil((extent / 2 + 4 * pixel_size) / pixel_size)
    counts = _deposit(turned[:, :2] / pixel_size + box // 2, box)
    transform = torch.fft.rfft2(counts * (strength * cloud.volume / pixel_size**2))
    row, column = torch.fft.fftfreq(box, pixel_size)[:, None], torch.fft.rfftfreq(box, pixel_size)[None]
    transform *= torch.exp(-(row**2 + column**2) * float(rng.uniform(40, 160)) / 4)
    return Silhouette(torch.fft.irfft2(transform, s=(box, box)), extent)


def _project_phantom(rng: np.random.Generator, model: AtomicModel, scale: float, pixel_size: float) -> Silhouette:
    """A phantom shrunk or blown up; its density stays that of protein."""
    rot, tilt = rng.uniform(-180, 180), math.degrees(math.acos(rng.uniform(-1, 1)))
    matrices = euler_matrices(np.array([rot]), np.array([tilt]), np.array([0.0]))
    grid = Grid(fitting_box(model, pixel_size / scale), pixel_size / scale)
    image = torch.fft.irfft2(project_atoms(model, matrices[:, :2], grid)[0], s=(grid.box, grid.box))
    return Silhouette(image * scale, model.diameter * scale)


def _draw_lumps(rng: np.random.Generator) -> Cloud:
    """A globular particle of one to nine domains, each an ellipsoid that touches one before it."""
    size = math.exp(rng.uniform(math.log(11), math.log(45)))
    centres: list[Array] = []
    parts = []
    for _ in range(int(rng.integers(1, 10))):
        axes = size * rng.uniform(0.6, 1.5, 3)
        direction = _directions(rng, 1)[0]
        centre = centres[int(rng.integers(len(centres)))] + 1.3 * size * direction if centres else np.zeros(3)
        centres.append(centre)
        parts.append((_fill_ball(rng, 4.19 * float(np.prod(axes))) * axes) @ _random_rotation(rng) + centre)
    return _thin(rng, np.concatenate(parts), _POINT_VOLUME)


def _draw_shell(rng: np.random.Generator) -> Cloud:
    """A capsid, a ferritin or a liposome, perhaps with something inside."""
    radius = math.exp(rng.uniform(math.log(40), math.log(220)))
    thickness = float(rng.uniform(8, 35))
    points = _directions(rng, _count(4 * math.pi * radius**2 * thickness))
    distance = radius + thickness * rng.uniform(-0.5, 0.5, len(points))
    if rng.random() < 0.3:  # two leaflets
        distance += np.where(rng.random(len(points)) < 0.5, 18, -18)
    parts = [points * distance[:, None]]
    if rng.random() < 0.4:
        inner = max(radius - thickness, 10.0)
        parts.append(_fill_ball(rng, 4.19 * inner**3 * float(rng.uniform(0.1, 0.6))) * inner)
    return _thin(rng, np.concatenate(parts), _POINT_VOLUME)


def _draw_tube(rng: np.random.Generator) -> Cloud:
    """A rod, a hollow tube or a barrel."""
    radius, length = float(rng.uniform(8, 70)), math.exp(rng.uniform(math.log(40), math.log(500)))
    hole = float(rng.choice([0.0, rng.uniform(0.2, 0.8)]))
    count = _count(math.pi * radius**2 * (1 - hole**2) * length)
    distance = radius * np.sqrt(rng.uniform(hole**2, 1, count))
    angle = rng.uniform(0, 2 * math.pi, count)
    points = np.stack([distance * np.cos(angle), distance * np.sin(angle), length * rng.uniform(-0.5, 0.5, count)], axis=1)
    return _thin(rng, points, _POINT_VOLUME)


def _draw_ring(rng: np.random.Generator) -> Cloud:
    """Like subunits about an axis, each of one to three domains, in one or two tiers."""
    folds, size = int(rng.integers(3, 15)), float(rng.uniform(10, 28))
    domains = []
    for place in range(int(rng.integers(1, 4))):
        axes = size * rng.uniform(0.7, 1.5, 3)
        domain = (_fill_ball(rng, 4.19 * float(np.prod(axes))) * axes) @ _random_rotation(rng)
        domains.append(domain + 1.2 * size * _directions(rng, 1) if place else domain)
    unit = np.concatenate(domains)
    unit += (1.7 * size * folds / (2 * math.pi) + 0.3 * size, 0, rng.uniform(0, 2) * size)
    copies = []
    for turn in 2 * math.pi * np.arange(folds) / folds:
        c, s = math.cos(turn), math.sin(turn)
        copies.append(unit @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]))
    points = np.concatenate(copies)
    if rng.random() < 0.5:
        points = np.concatenate([points, points * (1, -1, -1)])
    return _thin(rng, points, _POINT_VOLUME)


def _draw_chain(rng: np.random.Generator) -> Cloud:
    """Something long and flexible: nucleic acid, a coiled coil, a filament."""
    radius, steps = float(rng.uniform(6, 30)), int(rng.integers(8, 50))
    stiffness = float(rng.uniform(0.05, 0.6))
    heading = np.cumsum(rng.normal(0, stiffness, (steps, 3)), axis=0) + _directions(rng, 1)
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    axis = np.cumsum(heading * radius * 0.8, axis=0)
    count = _count(math.pi * radius**2 * radius * 0.8 * steps)
    along = rng.uniform(0, steps - 1, count)
    whole = along.astype(int)
    middle = axis[whole] + heading[whole] * ((along - whole) * radius * 0.8)[:, None]
    return _thin(rng, middle + radius * _directions(rng, count) * rng.uniform(0, 1, (count, 1)) ** 0.5, _POINT_VOLUME)


_KINDS: tuple[Callable[[np.random.Generator], Cloud], ...] = (_draw_lumps, _draw_shell, _draw_tube, _draw_ring, _draw_chain)
_CHANCES = (0.44, 0.12, 0.12, 0.2, 0.12)


def _count(volume: float) -> int:
    return max(20, round(volume / _POINT_VOLUME))


def _thin(rng: np.random.Generator, points: Array, volume: float) -> Cloud:
    """At most so many points that a projection stays quick."""
    if len(points) <= _MOST_POINTS:
        return Cloud(points, volume)
    return Cloud(points[rng.choice(len(points), _MOST_POINTS, replace=False)], volume * len(points) / _MOST_POINTS)


def _fill_ball(rng: np.random.Generator, volume: float) -> Array:
    """Points in the unit ball, as many as protein of `volume` Å³ has."""
    count = _count(volume)
    return _directions(rng, count) * rng.uniform(0, 1, (count, 1)) ** (1 / 3)


def _directions(rng: np.random.Generator, count: int) -> Array:
    points = rng.normal(size=(count, 3))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def _triple(values: Array) -> tuple[float, float, float]:
    first, second, third = map(float, values)
    return first, second, third


def _random_rotation(rng: np.random.Generator) -> Array:
    turn, upper = np.linalg.qr(rng.normal(size=(3, 3)))
    turn = turn * np.sign(np.diag(upper))
    return np.asarray(turn * np.sign(np.linalg.det(turn)))


def _deposit(place: Array, box: int) -> Tensor:
    """Count points (n, 2), (x, y), on a grid, linearly shared between neighbours."""
    whole = np.floor(place).astype(np.int64)
    part = place - whole
    total = np.zeros(box * box)
    for down in (0, 1):
        for across in (0, 1):
            weight = np.abs(1 - across - part[:, 0]) * np.abs(1 - down - part[:, 1])
            total += np.bincount((whole[:, 1] + down) * box + whole[:, 0] + across, weight, minlength=box * box)
    return torch.from_numpy(total.astype(np.float32)).reshape(box, box)
