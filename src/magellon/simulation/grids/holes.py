"""Medium magnification: the holes of a film, with ice, crystals, the square's edge, and out-of-focus fringes."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from magellon.simulation.grids.camera import CameraSettings, draw_camera, record_image
from magellon.simulation.grids.lattice import GridLattice
from magellon.simulation.grids.textures import Shape, draw_clusters, draw_field, draw_rods, draw_walks
from magellon.simulation.grids.truth import HOLE_KINDS, Floats, HoleTruth

THICK_ICE = 0.3
"""Optical depth beyond which ice is too thick, or 0.8 of the film's when that is less."""
EMPTY_ICE = 0.015


@dataclass(frozen=True)
class HoleScene:
    """What there is in a picture; `draw_hole_scene` chooses it, `dataclasses.replace` changes it."""

    shape: Shape
    lattice: GridLattice
    diameter: float
    """Of the holes, px."""
    film: float = 0.15
    """Optical depth: 0.03-0.25 for carbon, 0.5-2 for gold."""
    ice: float = 0.1
    """Mean optical depth of the ice in the holes."""
    ice_spread: float = 0.5
    """Relative, slowly over the picture."""
    ice_on_film: float = 0.5
    """Relative to the ice in the holes nearby."""
    empty: float = 0.1
    """Share of the holes without ice."""
    missing: float = 0.02
    """Share of the nodes without a hole."""
    roughness: float = 0.02
    """Of the rims, relative to the radius."""
    fringe: float = 0.1
    """Strength of the out-of-focus rim."""
    fringe_width: float = 1.0
    """px."""
    halo: float = 0.0
    """Darkening of the film beside a hole."""
    debris: float = 0.3
    """How much lies about, 0-1."""
    edge: float = 0.0
    """0: no bar in view; otherwise side of the square in pixels."""
    beam_marks: int = 0
    """Round marks that earlier exposures left on the film."""
    camera: CameraSettings = field(default_factory=CameraSettings)
    seed: int = 0


def draw_hole_scene(rng: np.random.Generator, shape: Shape, diameter: tuple[float, float] = (8.0, 200.0)) -> HoleScene:
    """A scene as varied as grids are.

    Args:
        diameter: range of the holes' diameter in pixels, drawn evenly in its logarithm.
    """
    across = float(np.exp(rng.uniform(*np.log(diameter))))
    hexagonal = rng.random() < 0.25
    pitch = across * float(rng.uniform(1.3, 2.2) if rng.random() < 0.6 else rng.uniform(2.2, 4))
    origin = (float(rng.uniform(0, shape[1])), float(rng.uniform(0, shape[0])))
    lattice = GridLattice.make(
        origin, pitch, float(rng.uniform(0, 90)), hexagonal=hexagonal, squeeze=float(rng.uniform(0.97, 1.03))
    )
    gold = rng.random() < 0.4
    has_edge = rng.random() < 0.4
    return HoleScene(
        shape,
        lattice,
        across,
        film=float(rng.uniform(0.4, 2) if gold else 10 ** rng.uniform(-1.5, -0.5)),
        ice=float(10 ** rng.uniform(-1.7, -0.5)),
        ice_spread=float(rng.uniform(0, 1)),
        ice_on_film=float(rng.uniform(0, 1)),
        empty=float(rng.choice([0, 0.05, 0.3, 0.9], p=[0.3, 0.3, 0.25, 0.15])),
        missing=float(rng.choice([0, 0.02, 0.15], p=[0.5, 0.3, 0.2])),
        roughness=float(rng.choice([0.0, 0.015, 0.05], p=[0.4, 0.4, 0.2])),
        fringe=float(rng.uniform(0, 0.35)),
        fringe_width=float(np.exp(rng.uniform(np.log(0.5), np.log(max(0.08 * across, 1))))),
        halo=float(rng.uniform(0, 0.2)) if rng.random() < 0.5 else 0.0,
        debris=float(rng.uniform(0, 1) ** 2),
        edge=float(rng.uniform(0.5, 1.4) * max(shape)) if has_edge else 0.0,
        beam_marks=int(rng.integers(1, 4)) if rng.random() < 0.2 else 0,
        camera=draw_camera(rng),
        seed=int(rng.integers(1 << 31)),
    )


def render_holes(scene: HoleScene) -> tuple[Floats, HoleTruth]:
    """The picture (height, width) in the values of its file, and its truth."""
    rng = np.random.default_rng(scene.seed)
    height, width = scene.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    nodes = scene.lattice.cover(scene.shape)
    centres = scene.lattice.place(nodes)
    i, j, dx, dy = scene.lattice.locate(x, y)
    wide = int(nodes[:, 1].max() - nodes[:, 1].min() + 1)
    index = (i - nodes[0, 0]) * wide + (j - nodes[0, 1])
    exists = rng.random(len(nodes)) >= scene.missing
    depth, rim = _draw_ice(rng, scene, centres), _draw_radii(rng, scene, len(nodes))
    distance = np.sqrt(dx * dx + dy * dy)
    inside_by = np.where(exists[index], rim[index] * (1 + _wobble(rng, scene, index, dx, dy)) - distance, -1e3)
    ice_field = np.exp(scene.ice_spread * draw_field(rng, scene.shape, max(scene.shape) / 2.5)).astype(np.float32)
    film = scene.film * (1 + 0.02 * draw_field(rng, scene.shape, 3) + 0.04 * draw_field(rng, scene.shape, 40))
    film = film + scene.ice * scene.ice_on_film * ice_field
    meniscus = 1 + rng.uniform(0, 0.6) * ((distance / np.maximum(rim[index], 1)) ** 2 - 0.3)
    hole = depth[index] * np.maximum(meniscus, 0.2)
    share = 1 / (1 + np.exp(-np.clip(inside_by / np.float32(rng.uniform(0.25, 0.8)), -30, 30)))
    depth_map = share * hole + (1 - share) * film + _fringes(scene, inside_by)
    depth_map = depth_map + _draw_marks(rng, scene, x, y)
    debris = _draw_debris(rng, scene)
    frame, bar = _draw_frame(rng, scene, x, y)
    transmission = np.exp(-depth_map - debris) * frame + bar * (1 - frame)
    image = record_image(transmission.astype(np.float32), scene.camera)
    return image, _find_truth(scene, nodes, centres, exists, (depth, rim), (film, debris, frame))


def _draw_ice(rng: np.random.Generator, scene: HoleScene, centres: Floats) -> Floats:
    """Optical depth in each hole: slow over the picture, a little from hole to hole, none in the empty ones."""
    height, width = scene.shape
    slow = draw_field(rng, (64, 64), 24)
    rows = np.clip(centres[:, 1] / height * 63, 0, 63).astype(int)
    columns = np.clip(centres[:, 0] / width * 63, 0, 63).astype(int)
    depth = scene.ice * np.exp(scene.ice_spread * slow[rows, columns] + 0.08 * rng.standard_normal(len(centres)))
    chance = scene.empty * np.clip(1 - slow[rows, columns], 0.2, 2) if rng.random() < 0.5 else scene.empty
    depth[rng.random(len(centres)) < chance] = 0
    clipped: Floats = np.clip(depth, 0, 1.5).astype(np.float32)
    return clipped


def _draw_radii(rng: np.random.Generator, scene: HoleScene, count: int) -> Floats:
    spread = rng.choice([0.0, 0.01, 0.04])
    limit = 0.42 * scene.lattice.pitch
    radii: Floats = np.minimum(scene.diameter / 2 * (1 + spread * rng.standard_normal(count)), limit).astype(np.float32)
    return radii


def _wobble(rng: np.random.Generator, scene: HoleScene, index: NDArray[np.int64], dx: Floats, dy: Floats) -> Floats:
    """Relative change of the radius with direction: three harmonics of each hole's own phase."""
    if scene.roughness == 0:
        return np.zeros_like(dx)
    direction = np.arctan2(dy, dx)
    phases = rng.uniform(0, 2 * math.pi, (3, int(index.max()) + 1)).astype(np.float32)
    orders = (2, int(rng.integers(3, 6)), int(rng.integers(6, 14)))
    waves = [np.cos(order * direction + phase[index]) / order for order, phase in zip(orders, phases, strict=True)]
    total: Floats = np.float32(2 * scene.roughness) * sum(waves)
    return total


def _fringes(scene: HoleScene, inside_by: Floats) -> Floats:
    """Extra depth along the rim: dark just outside, bright just inside, and a wide halo on the film."""
    width = np.float32(scene.fringe_width)
    dark = np.exp(-(((inside_by + 0.8 * width) / width) ** 2))
    bright = np.exp(-(((inside_by - 0.8 * width) / width) ** 2))
    halo = np.exp(np.clip(inside_by, -1e3, 0) / np.float32(0.15 * scene.diameter)) * (inside_by < 0)
    depth: Floats = np.float32(scene.fringe) * (dark - 0.6 * bright) + np.float32(scene.halo) * halo
    return depth


def _draw_marks(rng: np.random.Generator, scene: HoleScene, x: Floats, y: Floats) -> Floats:
    """Thin rings of the beam, larger than the holes."""
    total = np.zeros_like(x)
    for _ in range(scene.beam_marks):
        radius = scene.diameter * rng.uniform(1.2, 4)
        distance = np.hypot(x - rng.uniform(0, scene.shape[1]), y - rng.uniform(0, scene.shape[0])) - radius
        total += np.float32(rng.uniform(-0.15, 0.15)) * np.exp(-(distance**2) / 2)
        total += np.float32(rng.uniform(-0.04, 0.04)) * (distance < 0)
    return total


def _draw_debris(rng: np.random.Generator, scene: HoleScene) -> Floats:
    """Optical depth of crystals and dirt."""
    across, amount = scene.diameter, scene.debris
    cells = scene.shape[0] * scene.shape[1] / across**2
    depth = np.zeros(scene.shape, dtype=np.float32)
    if amount == 0:
        return depth
    small = min(rng.poisson(amount * min(0.5 * cells, 40)), 80)
    depth += np.float32(rng.uniform(0.5, 3)) * draw_clusters(
        rng, scene.shape, small, max(across * rng.uniform(0.05, 0.25), 1.5)
    )
    large = rng.poisson(amount * min(0.05 * cells, 4))
    depth += np.float32(rng.uniform(1, 5)) * draw_clusters(rng, scene.shape, large, across * rng.uniform(0.4, 1.2))
    if rng.random() < 0.15:
        depth += 4 * draw_rods(rng, scene.shape, int(rng.integers(1, 3)), across, across * 0.3)
    if rng.random() < 0.3 * amount + 0.05:
        count = int(min(2 + cells * rng.uniform(0.2, 4), 300))
        winding = draw_walks(rng, scene.shape, count, across * rng.uniform(0.2, 1), max(across * 0.04, 1))
        depth += np.float32(rng.uniform(0.05, 0.8)) * winding
    return depth


def _draw_frame(rng: np.random.Generator, scene: HoleScene, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """How open the square is at each pixel, 0-1, and what passes the bars around it."""
    if scene.edge == 0:
        return np.ones_like(x), np.zeros_like(x)
    half, turn = scene.edge / 2, rng.uniform(0, math.pi / 2)
    reach = 0.35 * max(scene.shape)
    dx = x - (scene.shape[1] / 2 + rng.uniform(-reach, reach))
    dy = y - (scene.shape[0] / 2 + rng.uniform(-reach, reach))
    u, v = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
    corner = half * rng.uniform(0.05, 0.3)
    qu, qv = np.abs(u) - (half - corner), np.abs(v) - (half - corner)
    inside_by = corner - np.hypot(np.maximum(qu, 0), np.maximum(qv, 0)) - np.minimum(np.maximum(qu, qv), 0)
    soft = np.float32(np.exp(rng.uniform(np.log(0.5), np.log(6))))
    open_share: Floats = 1 / (1 + np.exp(-np.clip(inside_by / soft, -30, 30)))
    glow = rng.uniform(0, 0.15) * np.exp(np.minimum(inside_by, 0) / np.float32(0.1 * half))
    return open_share.astype(np.float32), (rng.uniform(0.005, 0.06) + glow).astype(np.float32)


def _find_truth(
    scene: HoleScene,
    nodes: NDArray[np.int64],
    centres: Floats,
    exists: NDArray[np.bool_],
    holes: tuple[Floats, Floats],
    maps: tuple[Floats, Floats, Floats],
) -> HoleTruth:
    """Holes with their centre in the picture and in the square; kinds and visibility from what was drawn."""
    (depth, rim), (film, debris, frame) = holes, maps
    height, width = scene.shape
    column, row = np.rint(centres[:, 0]).astype(int), np.rint(centres[:, 1]).astype(int)
    keep = exists & (column >= 0) & (row >= 0) & (column < width) & (row < height)
    keep[keep] &= frame[row[keep], column[keep]] > 0.05
    column, row, rim, depth = column[keep], row[keep], rim[keep], depth[keep]
    covered = _mean_in_holes(np.minimum(debris, 1), column, row, rim)
    around = film[row, column]
    thick = depth > np.minimum(THICK_ICE, 0.8 * around)
    kind = np.where(depth < EMPTY_ICE, HOLE_KINDS.index("empty"), HOLE_KINDS.index("good"))
    kind = np.where(thick, HOLE_KINDS.index("thick"), kind)
    kind = np.where(covered > 0.12, HOLE_KINDS.index("contaminated"), kind)
    bright = np.exp(-depth) * frame[row, column]
    step = np.abs(np.exp(-depth) - np.exp(-around)) * frame[row, column]
    rim_seen = 1.5 * scene.fringe * np.exp(-around) * np.sqrt(2 * math.pi * scene.fringe_width / rim / math.pi)
    sigma = np.sqrt(np.maximum(bright, 0.01) / scene.camera.dose)
    signal = np.hypot(step, rim_seen * frame[row, column]) * np.sqrt(math.pi) * rim / sigma
    contrast = np.maximum(step, scene.fringe * np.exp(-around)) / np.maximum(bright, 0.05)
    visible = (signal > 12) & (contrast > 0.02) & (covered < 0.6) & (frame[row, column] > 0.7)
    return HoleTruth(centres[keep], rim, kind, depth, nodes[keep], visible, scene.lattice.pitch, _fold_angle(scene.lattice))


def _mean_in_holes(values: Floats, column: NDArray[np.int64], row: NDArray[np.int64], rim: Floats) -> Floats:
    """Mean over a few dozen points spread over each hole."""
    turn = np.arange(32) * math.pi * (3 - math.sqrt(5))
    reach = np.sqrt((np.arange(32) + 0.5) / 32)
    x = np.clip(np.rint(column[:, None] + rim[:, None] * reach * np.cos(turn)), 0, values.shape[1] - 1).astype(int)
    y = np.clip(np.rint(row[:, None] + rim[:, None] * reach * np.sin(turn)), 0, values.shape[0] - 1).astype(int)
    mean: Floats = values[y, x].mean(axis=1)
    return mean


def _fold_angle(lattice: GridLattice) -> float:
    """Of the lattice vector nearest to +x."""
    vectors = np.array([lattice.a, lattice.b, np.subtract(lattice.a, lattice.b)])
    lengths = np.hypot(vectors[:, 0], vectors[:, 1])
    angles = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0]))[lengths < 1.1 * lengths.min()]
    folded = (angles + 90) % 180 - 90
    return float(folded[np.argmin(np.abs(folded))])


def with_seed(scene: HoleScene, seed: int) -> HoleScene:
    """The same scene with other ice, debris and noise."""
    return replace(scene, seed=seed, camera=replace(scene.camera, seed=seed + 1))
