"""Low magnification: the squares of a grid between its bars, as one picture or a montage."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from magellon.simulation.grids.camera import CameraSettings, draw_camera, record_image
from magellon.simulation.grids.lattice import GridLattice
from magellon.simulation.grids.squares import SquareParts, choose_kinds, draw_insides
from magellon.simulation.grids.textures import Shape, draw_clusters, draw_field
from magellon.simulation.grids.truth import SQUARE_KINDS, Floats, SquareTruth


@dataclass(frozen=True)
class AtlasScene:
    """What there is in a picture; `draw_atlas_scene` chooses it, `dataclasses.replace` changes it."""

    shape: Shape
    lattice: GridLattice
    side: float
    """Of the squares, px."""
    corner: float = 0.15
    """Radius of the squares' corners, relative to half the side."""
    bar: float = 0.03
    """What passes the bars."""
    penumbra: float = 1.0
    """Softness of the bars' edges, px."""
    film: float = 0.2
    """Optical depth of film without ice."""
    ice: float = 0.2
    """Mean optical depth of the ice on good squares."""
    ice_spread: float = 0.4
    """Relative, slowly over the grid."""
    kinds: tuple[float, ...] = (0.6, 0.08, 0.08, 0.08, 0.08, 0.08)
    """Shares of the kinds, in the order of `SQUARE_KINDS`."""
    hole_pitch: float = 0.0
    """Of the film's holes, px; below 2 they do not show."""
    debris: float = 0.2
    """How much lies about, 0-1."""
    rim: float = 0.0
    """Radius of the grid, px; 0: its rim is not in view."""
    tiles: tuple[int, int] = (1, 1)
    """Columns and rows of the montage."""
    seam: float = 0.0
    """Steps in brightness and place between its tiles."""
    blank: float = 0.0
    """Width of the empty margin around the montage, relative to the picture."""
    camera: CameraSettings = field(default_factory=CameraSettings)
    seed: int = 0


def draw_atlas_scene(rng: np.random.Generator, shape: Shape, side: tuple[float, float] = (10.0, 200.0)) -> AtlasScene:
    """A scene as varied as grids are.

    Args:
        side: range of the squares' side in pixels, drawn evenly in its logarithm.
    """
    across = float(np.exp(rng.uniform(*np.log(side))))
    pitch = across / float(rng.uniform(0.5, 0.88))
    origin = (float(rng.uniform(0, shape[1])), float(rng.uniform(0, shape[0])))
    lattice = GridLattice.make(origin, pitch, float(rng.uniform(0, 90)), squeeze=float(rng.uniform(0.98, 1.02)))
    montage = rng.random() < 0.4
    shares = rng.dirichlet([2.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    if rng.random() < 0.2:
        shares = np.array([1.0, 0, 0, 0, 0, 0])
    film = float(rng.uniform(0.05, 0.3) if rng.random() < 0.65 else rng.uniform(0.4, 1.2))
    ice = float(rng.uniform(0.08, 0.5))
    return AtlasScene(
        shape,
        lattice,
        across,
        corner=float(rng.uniform(0.02, 0.45)),
        bar=float(
            rng.choice([0.0, 0.03, 0.15, 0.4], p=[0.25, 0.35, 0.25, 0.15]) * rng.uniform(0.5, 1.2) * math.exp(-film - ice)
        ),
        penumbra=float(np.exp(rng.uniform(np.log(0.3), np.log(max(0.06 * across, 0.5))))),
        film=film,
        ice=ice,
        ice_spread=float(rng.uniform(0, 0.8)),
        kinds=tuple(map(float, shares)),
        hole_pitch=float(across / rng.uniform(6, 30)) if rng.random() < 0.7 else 0.0,
        debris=float(rng.uniform(0, 1) ** 2),
        rim=float(rng.uniform(0.35, 0.9) * max(shape)) if rng.random() < 0.2 else 0.0,
        tiles=(int(rng.integers(1, 5)), int(rng.integers(1, 5))) if montage else (1, 1),
        seam=float(rng.uniform(0, 1)) if montage else 0.0,
        blank=float(rng.uniform(0, 0.15)) if montage and rng.random() < 0.4 else 0.0,
        camera=draw_camera(rng),
        seed=int(rng.integers(1 << 31)),
    )


def render_atlas(scene: AtlasScene) -> tuple[Floats, SquareTruth]:
    """The picture (height, width) in the values of its file, and its truth."""
    rng = np.random.default_rng(scene.seed)
    height, width = scene.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shift_x, shift_y, gain, seen = _draw_tiles(rng, scene, x, y)
    nodes = scene.lattice.cover(scene.shape)
    parts = choose_kinds(rng, scene.kinds, scene.lattice.place(nodes) / max(scene.shape), (scene.ice, scene.ice_spread))
    i, j, dx, dy = scene.lattice.locate(x + shift_x, y + shift_y)
    wide = int(nodes[:, 1].max() - nodes[:, 1].min() + 1)
    index = (i - nodes[0, 0]) * wide + (j - nodes[0, 1])
    turn = math.atan2(scene.lattice.a[1], scene.lattice.a[0])
    u = (dx * math.cos(turn) + dy * math.sin(turn)) * np.float32(2 / scene.side)
    v = (dy * math.cos(turn) - dx * math.sin(turn)) * np.float32(2 / scene.side)
    inside_by = _round_square(u, v, scene.corner) * np.float32(scene.side / 2)
    open_share = 1 / (1 + np.exp(-np.clip(inside_by / np.float32(scene.penumbra), -30, 30)))
    depth = draw_insides(rng, parts, index, (u, v), (scene.film, scene.side))
    depth = depth + _draw_hole_pattern(rng, scene, x, y)
    debris = _draw_debris(rng, scene)
    transmission = np.exp(-depth - debris) * open_share + _draw_bars(rng, scene) * (1 - open_share)
    inside_rim = np.ones_like(x)
    if scene.rim:
        middle = (rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height)
        inside_rim = 1 / (1 + np.exp(-np.clip((scene.rim - np.hypot(x - middle[0], y - middle[1])) / 1.5, -30, 30)))
        transmission = transmission * inside_rim + 0.5 * scene.bar * (1 - inside_rim)
    image = record_image((transmission * gain).astype(np.float32), scene.camera)
    image = np.where(seen, image, np.float32(rng.choice([float(image.min()), 0.0])))
    return image, _find_truth(scene, nodes, parts, (depth, debris, gain * inside_rim * seen))


def _round_square(u: Floats, v: Floats, corner: float) -> Floats:
    """Distance from the edge of a square of half side 1 with round corners, positive inside."""
    qu, qv = np.abs(u) - np.float32(1 - corner), np.abs(v) - np.float32(1 - corner)
    outside = np.hypot(np.maximum(qu, 0), np.maximum(qv, 0)) + np.minimum(np.maximum(qu, qv), 0)
    return np.float32(corner) - outside


def _draw_bars(rng: np.random.Generator, scene: AtlasScene) -> Floats:
    """What passes the bars, unevenly."""
    uneven = 1 + 0.25 * draw_field(rng, scene.shape, max(2 * scene.side, 4)) + 0.08 * draw_field(rng, scene.shape, 3)
    bars: Floats = (scene.bar * np.clip(uneven, 0.1, 3)).astype(np.float32)
    return bars


def _draw_hole_pattern(rng: np.random.Generator, scene: AtlasScene, x: Floats, y: Floats) -> Floats | float:
    """The film's holes as a fine lattice of lighter spots."""
    if scene.hole_pitch < 2:
        return 0.0
    fine = GridLattice.make((0.0, 0.0), scene.hole_pitch, float(rng.uniform(0, 90)))
    _, _, dx, dy = fine.locate(x, y)
    share = 1 / (1 + np.exp(-np.clip((scene.hole_pitch * rng.uniform(0.2, 0.38) - np.hypot(dx, dy)) / 0.5, -30, 30)))
    pattern: Floats = np.float32(-rng.uniform(0.02, 0.25)) * share
    return pattern


def _draw_debris(rng: np.random.Generator, scene: AtlasScene) -> Floats:
    cells = scene.shape[0] * scene.shape[1] / scene.side**2
    count = min(rng.poisson(scene.debris * min(1.5 * cells, 60)), 100)
    small = draw_clusters(rng, scene.shape, count, max(scene.side * rng.uniform(0.03, 0.15), 1.2))
    large = draw_clusters(
        rng, scene.shape, min(rng.poisson(scene.debris * 0.02 * cells), 4), scene.side * rng.uniform(0.3, 0.8)
    )
    return np.float32(rng.uniform(0.5, 3)) * small + np.float32(rng.uniform(1, 4)) * large


def _draw_tiles(
    rng: np.random.Generator, scene: AtlasScene, x: Floats, y: Floats
) -> tuple[Floats | float, Floats | float, Floats, NDArray[np.bool_]]:
    """Per pixel: how far its tile is displaced in x and y, its brightness, and whether any tile shows it."""
    height, width = scene.shape
    seen = np.ones(scene.shape, dtype=np.bool_)
    if scene.blank:
        margin = scene.blank * np.array([width, height])
        seen = (x > margin[0]) & (y > margin[1]) & (x < width - margin[0]) & (y < height - margin[1])
    columns, rows = scene.tiles
    if columns * rows == 1:
        return 0.0, 0.0, np.ones_like(x), seen
    across, down = x * np.float32(columns / width), y * np.float32(rows / height)
    tile = (np.minimum(down, rows - 1).astype(int) * columns + np.minimum(across, columns - 1).astype(int)).astype(np.int64)
    spread = 0.06 * scene.seam * scene.side
    shift = np.clip(spread * rng.standard_normal((2, columns * rows)), -0.1 * scene.side, 0.1 * scene.side).astype(np.float32)
    gain = (1 + 0.1 * scene.seam * rng.standard_normal(columns * rows)).astype(np.float32)
    local = ((across % 1) - 0.5) ** 2 + ((down % 1) - 0.5) ** 2
    shade: Floats = gain[tile] * (1 - np.float32(rng.uniform(0, 0.4) * scene.seam) * local)
    if rng.random() < 0.15:
        seen &= rng.random(columns * rows)[tile] > 0.1  # tiles that were not taken
    return shift[0][tile], shift[1][tile], shade, seen


def _find_truth(
    scene: AtlasScene, nodes: NDArray[np.int64], parts: SquareParts, maps: tuple[Floats, Floats, Floats]
) -> SquareTruth:
    """Squares with their centre in the picture; those darker than what stands out from the bars are not visible."""
    (depth, debris, light), (height, width) = maps, scene.shape
    centres = scene.lattice.place(nodes)
    keep = (centres >= 0).all(1) & (centres[:, 0] < width) & (centres[:, 1] < height) & ~parts.absent
    centres, nodes = centres[keep], nodes[keep]
    turn = math.atan2(scene.lattice.a[1], scene.lattice.a[0])
    axes = 0.5 * scene.side * np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    around = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    corners = centres[:, None] + (around @ axes)[None]
    grid = np.linspace(-0.85, 0.85, 7)
    spread = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2) @ axes
    points = np.rint(centres[:, None] + spread[None]).astype(int)
    inside = (points[..., 0] >= 0) & (points[..., 1] >= 0) & (points[..., 0] < width) & (points[..., 1] < height)
    column, row = np.clip(points[..., 0], 0, width - 1), np.clip(points[..., 1], 0, height - 1)
    lit = light[row, column] * inside
    seen = np.maximum(inside.sum(1), 1)
    through = (np.exp(-depth[row, column] - debris[row, column]) * lit).sum(1) / seen
    dirty = (np.minimum(debris[row, column], 1) * inside).sum(1) / seen > 0.2
    kind = np.where(dirty, SQUARE_KINDS.index("contaminated"), parts.kind[keep])
    noise = math.sqrt(max(float(scene.bar), 0.01) / scene.camera.dose) / (0.4 * scene.side)
    visible = (through > 1.25 * scene.bar + 0.02 + 4 * noise) & (lit.sum(1) > 0.7 * inside.sum(1)) & (inside.mean(1) > 0.4)
    return SquareTruth(
        centres,
        corners.astype(np.float32),
        np.full(len(centres), scene.side, np.float32),
        kind,
        visible,
        scene.lattice.pitch,
        float((math.degrees(turn) + 45) % 90 - 45),
    )
