"""The networks of the original Ptolemy, run as it runs them, on what a user has in ONNX form.

Source: Kim et al. 2023, IUCrJ 10, 90 (Ptolemy), and how its public programs prepare crops.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, label
from scipy.spatial import cKDTree
from torch.nn import functional

from magellon.algorithms.targets.candidates import Candidates
from magellon.algorithms.targets.found import Found
from magellon.algorithms.targets.holes import FoundHoles
from magellon.algorithms.targets.planes import reduce_image
from magellon.algorithms.targets.squares import FoundSquares
from magellon.backends.ptolemy.networks import Floats, score_crops, segment_picture
from magellon.io.network import open_network

SQUARE_CROP, HOLE_CROP, HOLE_RADIUS = 240, 300, 70.0
"""Pixels."""
SEGMENTER_MULTIPLE, SEGMENTER_LONGEST = 512, 2048
MASK_THRESHOLD = 1e-4
FoundT = TypeVar("FoundT", bound=Found)


def rank_squares(squares: FoundSquares, image: Floats, path: Path, threads: int, device: str) -> FoundSquares:
    """The squares in the order of Ptolemy's classifier: each turned upright, in its own pixels, in the middle of 240 x 240.

    Raises:
        BadInput: the network is no such classifier.
    """
    network = open_network(path, threads, device)
    zoom = np.minimum(1.0, (SQUARE_CROP - 2) / np.maximum(squares.side, 1))
    crops = [
        cut_crop(image, (squares.x[row], squares.y[row]), squares.angle[row], zoom[row], SQUARE_CROP)
        for row in range(len(squares))
    ]
    inside = [_square_mask(side * scale) for side, scale in zip(squares.side, zoom, strict=True)]
    values = np.concatenate([crop[mask] for crop, mask in zip(crops, inside, strict=True)]) if crops else np.ones(1)
    mean, deviation = values.mean(), max(float(values.std()), 1e-12)
    batch = np.array([(crop - mean) / deviation * mask for crop, mask in zip(crops, inside, strict=True)], dtype=np.float32)
    return reorder(squares, score_crops(network, batch))


def rank_holes(holes: FoundHoles, image: Floats, path: Path, threads: int, device: str) -> FoundHoles:
    """The holes in the order of Ptolemy's classifier: each at a radius of 70 in the middle of 300 x 300 pixels.

    Raises:
        BadInput: the network is no such classifier.
    """
    network = open_network(path, threads, device)
    crops = [
        cut_crop(image, (holes.x[row], holes.y[row]), 0.0, HOLE_RADIUS / holes.radius[row], HOLE_CROP)
        for row in range(len(holes))
    ]
    batch = np.array(crops, dtype=np.float32)
    scale = 1.2 * float(np.percentile(batch, 90)) if crops else 1.0
    return reorder(holes, score_crops(network, batch / np.float32(scale if scale else 1.0)))


def cut_crop(image: Floats, centre: tuple[float, float], angle: float, zoom: float, side: int) -> Floats:
    """(side, side) pixels around a centre (x, y), turned upright by `angle` degrees, zero beyond the picture."""
    turn = np.radians(angle)
    steps = (np.arange(side) - (side - 1) / 2) / zoom
    u, v = np.meshgrid(steps, steps)
    x = centre[0] + u * np.cos(turn) - v * np.sin(turn)
    y = centre[1] + u * np.sin(turn) + v * np.cos(turn)
    height, width = image.shape
    where = np.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], axis=-1).astype(np.float32)
    cut = functional.grid_sample(torch.from_numpy(image)[None, None], torch.from_numpy(where)[None], align_corners=False)
    crop: Floats = cut[0, 0].numpy()
    return crop


def _square_mask(side: float) -> NDArray[np.bool_]:
    steps = np.abs(np.arange(SQUARE_CROP) - (SQUARE_CROP - 1) / 2) <= side / 2
    mask: NDArray[np.bool_] = steps[:, None] & steps[None]
    return mask


def reorder(found: FoundT, scores: Floats) -> FoundT:
    """The same targets by falling scores; good are those of at least 0.5."""
    order = np.argsort(-scores, kind="stable")
    values: dict[str, Any] = {}
    for each in fields(found):
        value = getattr(found, each.name)
        if isinstance(value, np.ndarray):
            values[each.name] = value[order]
        elif isinstance(value, tuple):
            values[each.name] = tuple(value[row] for row in order)
    values["good"] = scores[order] >= 0.5
    return replace(found, **values)


def segment_holes(image: Floats, path: Path, seen: Candidates, threads: int, device: str) -> Candidates:
    """What Ptolemy's segmenter sees as holes, each connected part one.

    Args:
        seen: what our network sees, and of which kinds: the segmenter does not tell them.

    Raises:
        BadInput: the network is no such segmenter.
    """
    network = open_network(path, threads, device)
    factor = -(-max(image.shape) // SEGMENTER_LONGEST)
    small = reduce_image(torch.from_numpy(image), factor).numpy()
    parts, count = label(segment_picture(network, small, SEGMENTER_MULTIPLE) > MASK_THRESHOLD)
    area = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    centres = np.array(center_of_mass(parts > 0, parts, np.arange(1, count + 1))).reshape(-1, 2)
    kept = area >= 9
    place = (centres[kept] + 0.5) * factor - 0.5
    size = 2 * np.sqrt(area[kept] / np.pi) * factor
    number = int(kept.sum())
    heat = np.full(number, 0.9, np.float32)
    one = np.zeros(number, np.float32)
    x, y = place[:, 1].astype(np.float32), place[:, 0].astype(np.float32)
    return Candidates(x, y, size.astype(np.float32), heat, borrow_kinds(x, y, size, seen), one)


def borrow_kinds(x: Floats, y: Floats, size: Floats, seen: Candidates) -> Floats:
    """(n, kinds) of the nearest candidate in the middle of each thing; where there is none, the mean of the others."""
    shares = np.full((len(x), seen.kinds.shape[1]), 1 / seen.kinds.shape[1], np.float32)
    if len(x) and len(seen):
        found = cKDTree(np.stack([seen.x, seen.y], axis=1)).query(np.stack([x, y], axis=1))
        nearest, near = np.asarray(found[1]), np.asarray(found[0]) < size / 4
        if near.any():
            shares[:] = seen.kinds[nearest[near]].mean(axis=0)
            shares[near] = seen.kinds[nearest[near]]
    return shares
