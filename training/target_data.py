"""Simulated pictures of grids with what the network shall answer."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from magellon.algorithms.targets.planes import make_planes
from magellon.simulation.grids import HOLE_KINDS, SQUARE_KINDS, draw_atlas_scene, draw_hole_scene, render_atlas, render_holes

SIZES = {"holes": (7.0, 44.0), "squares": (10.0, 64.0)}
"""Diameters of holes and sides of squares, in pixels, that the network answers to."""
STRIDES = {"holes": 2, "squares": 4}
KINDS = {"holes": HOLE_KINDS, "squares": SQUARE_KINDS}


@dataclass(frozen=True)
class Objects:
    """What is in a picture."""

    x: np.ndarray
    y: np.ndarray
    size: np.ndarray
    kind: np.ndarray
    counts: np.ndarray
    """False: neither right nor wrong to find."""
    angle: float


def draw_picture(rng: np.random.Generator, what: str, shape: tuple[int, int]) -> tuple[np.ndarray, Objects]:
    """A picture as float32 and its objects of any size."""
    low, high = SIZES[what]
    wide = (low * 0.75, high * 1.3)
    if rng.random() < 0.25:  # what there is of large things at too fine a scale, and of small ones at too coarse a scale
        wide = (high * 1.3, high * 8) if rng.random() < 0.8 else (low * 0.3, low * 0.75)
    other = rng.random() < (0.04 if what == "holes" else 0.12)
    if (what == "holes") != other:
        scene = draw_hole_scene(rng, shape, wide)
        scene = replace(scene, missing=1.0) if rng.random() < 0.05 else scene
        scene = replace(scene, debris=float(rng.uniform(0.5, 1))) if rng.random() < 0.2 else scene
        image, holes = render_holes(scene)
        found = (holes.centres, 2 * holes.radius, holes.kind, holes.visible, 0.0)
        if other and scene.edge:  # a square with one of its edges in view is no mistake
            found = (
                np.array([[shape[1] / 2, shape[0] / 2]]),
                np.array([4.0 * max(shape)]),
                np.array([0]),
                np.array([False]),
                0.0,
            )
            return image, Objects(found[0][:, 0], found[0][:, 1], *found[1:])
    else:
        scene = draw_atlas_scene(rng, shape, wide)
        scene = replace(scene, corner=0.1) if other else scene
        image, squares = render_atlas(scene)
        found = (squares.centres, squares.side, squares.kind, squares.visible, squares.angle)
    if other:
        return image, Objects(*(np.zeros(0) for _ in range(4)), np.zeros(0, bool), 0.0)
    centres, size, kind, visible, angle = found
    return image, Objects(centres[:, 0], centres[:, 1], size, kind, visible, angle)


@dataclass(frozen=True)
class Answers:
    """What the network shall answer, cell by cell."""

    heat: torch.Tensor
    """(height, width): 1 at centres, falling off around them."""
    weight: torch.Tensor
    """0 where any answer is right."""
    values: torch.Tensor
    """(5, height, width): log2 size / 16, x, y, cosine and sine of four angles."""
    kind: torch.Tensor
    """Index of the kind, -1 where nothing is asked."""


def make_answers(objects: Objects, shape: tuple[int, int], what: str) -> Answers:
    """Of a picture whose padded shape is given."""
    stride, (low, high) = STRIDES[what], SIZES[what]
    height, width = shape[0] // stride, shape[1] // stride
    heat, weight = np.zeros((height, width), np.float32), np.ones((height, width), np.float32)
    values, kind = np.zeros((5, height, width), np.float32), np.full((height, width), -1, np.int64)
    turn = math.radians(4 * objects.angle)
    for x, y, size, which, counts in zip(objects.x, objects.y, objects.size, objects.kind, objects.counts, strict=True):
        if not 0.8 * low < size < 1.25 * high and counts:
            continue
        cx, cy, cells = (x + 0.5) / stride - 0.5, (y + 0.5) / stride - 0.5, size / stride
        reach = 0.5 * cells + 1
        top, left = max(int(cy - reach), 0), max(int(cx - reach), 0)
        patch = (slice(top, int(cy + reach) + 2), slice(left, int(cx + reach) + 2))
        rows, columns = np.arange(height, dtype=np.float32)[patch[0], None], np.arange(width, dtype=np.float32)[None, patch[1]]
        if rows.size == 0 or columns.size == 0:
            continue
        distance = np.hypot(rows - cy, columns - cx)
        if not counts or not low <= size <= high:
            weight[patch][distance < 0.5 * cells] = 0
            continue
        heat[patch] = np.maximum(heat[patch], np.exp(-0.5 * (distance / max(0.1 * cells, 0.7)) ** 2))
        near = distance < max(0.22 * cells, 0.9)
        given = [
            np.full_like(distance, math.log2(size / 16)),
            (cx - columns) / cells + 0 * rows,
            (cy - rows) / cells + 0 * columns,
        ]
        for channel, value in enumerate(
            [*given, np.full_like(distance, math.cos(turn)), np.full_like(distance, math.sin(turn))]
        ):
            values[channel][patch][near] = value[near]
        kind[patch][near] = which
        row, column = int(np.clip(np.rint(cy), 0, height - 1)), int(np.clip(np.rint(cx), 0, width - 1))
        heat[row, column] = 1
    return Answers(torch.from_numpy(heat), torch.from_numpy(weight), torch.from_numpy(values), torch.from_numpy(kind))


@dataclass(frozen=True)
class Batch:
    """What one step of the training sees."""

    planes: torch.Tensor
    """(batch, planes, height, width)"""
    answers: Answers
    """With a leading batch axis."""

    def turn(self, across: bool, down: bool, swap: bool) -> "Batch":
        """The same pictures mirrored along x, along y, and with x and y swapped: as good as new ones, and cheap."""
        axes = [axis for axis, chosen in ((-1, across), (-2, down)) if chosen]
        parts = [self.planes, *(getattr(self.answers, name) for name in ("heat", "weight", "values", "kind"))]
        parts = [part.flip(axes) if axes else part for part in parts]
        parts = [part.transpose(-1, -2) if swap else part for part in parts]
        size, x, y, cosine, sine = parts[3].unbind(1)
        x, y = (-x if across else x), (-y if down else y)
        x, y = (y, x) if swap else (x, y)
        sine = -sine if across ^ down ^ swap else sine
        return Batch(parts[0], Answers(parts[1], parts[2], torch.stack([size, x, y, cosine, sine], dim=1), parts[4]))


def draw_batch(rng: np.random.Generator, what: str, pixels: int = 200_000) -> Batch:
    """Pictures of one shape, drawn anew for each batch."""
    height, width = (int(rng.choice([64, 96, 128, 160, 192, 256])) for _ in range(2))
    planes, answers = [], []
    for _ in range(max(pixels // (height * width), 1)):
        cut = (height - int(rng.integers(0, 32)), width - int(rng.integers(0, 32))) if rng.random() < 0.3 else (height, width)
        image, objects = draw_picture(rng, what, cut)
        planes.append(make_planes(torch.from_numpy(image)))
        answers.append(make_answers(objects, (height, width), what))
    stacked = Answers(
        *(torch.stack([getattr(each, name) for each in answers]) for name in ("heat", "weight", "values", "kind"))
    )
    return Batch(torch.stack(planes), stacked)
