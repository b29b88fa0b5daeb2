"""What kind a square or hole is of: from its brightness, evenness and surroundings, and from what the network thinks.

Brightness has no unit and no zero in most pictures, so everything is relative to the other targets of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from magellon.algorithms.targets.candidates import Floats
from magellon.algorithms.targets.planes import reduce_image

LOOKS = 19
"""Numbers that `describe_looks` gives besides the network's."""
_FINE = 40.0
"""Size in pixels at which targets are looked at."""


@dataclass(frozen=True)
class KindModel:
    """One hidden layer between what a target looks like and its kind."""

    mean: Floats
    scale: Floats
    hidden: Floats
    """(looks + 1, width), the last row added to every target."""
    out: Floats
    """(width + 1, kinds)."""

    def __call__(self, looks: Floats) -> Floats:
        """(n, looks) to (n, kinds), shares of 1."""
        if len(looks) == 0:
            return np.zeros((0, self.out.shape[1]), np.float32)
        normed = np.clip((looks - self.mean) / self.scale, -5, 5)
        inner = np.tanh(_extend(normed) @ self.hidden)
        logits = _extend(inner) @ self.out
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares


def _extend(values: Floats) -> Floats:
    wider: Floats = np.concatenate([values, np.ones((len(values), 1))], axis=1)
    return wider


def describe_looks(image: torch.Tensor, inside: Floats, around: Floats, size: float, kinds: Floats) -> Floats:
    """What targets look like, (n, `LOOKS` + kinds).

    Args:
        image: (height, width).
        inside: (n, p, 2) points x, y within each target, from its middle outward.
        around: (n, q, 2) points just outside.
        size: of the targets, px.
        kinds: (n, kinds) what the network thinks.
    """
    if len(inside) == 0:
        return np.zeros((0, LOOKS + kinds.shape[1]))
    factor = max(round(size / _FINE), 1)
    small = reduce_image(image, factor).cpu().numpy().astype(np.float64)
    values, beside = _read(small, inside, factor), _read(small, around, factor)
    dark = float(np.percentile(small[::2, ::2], 1))
    level = np.nanmean(values, axis=1)
    span = max(float(np.median(level)) - dark, 1e-9 * max(abs(dark), 1e-20))
    values, beside, level = (values - dark) / span, (beside - dark) / span, (level - dark) / span
    middle, *quantiles = _take_quantiles(values, (0.5, 0.05, 0.25, 0.75, 0.95))
    half = values.shape[1] // 2
    [film] = _take_quantiles(beside, (0.5,))
    top = np.percentile(level, 97)
    looks = [
        level,
        middle,
        np.nanstd(values, axis=1),
        *quantiles,
        np.nanmean(values > middle[:, None] + 0.35, axis=1),
        np.nanmean(values < 0.5 * middle[:, None], axis=1),
        film,
        (level - film) / max(abs(top - np.median(film)), 1e-6),
        level / max(abs(top), 1e-6),
        np.nanmean(values[:, :half], axis=1) - np.nanmean(values[:, half:], axis=1),
    ]
    whole = [*np.percentile(looks[10], (5, 25, 50, 75)), np.median(looks[2]), np.median(film)]
    looks += [np.full(len(level), each) for each in whole]  # what the others look like: only they say what bright is here
    described: Floats = np.concatenate([np.stack(looks, axis=1), np.log(np.clip(kinds, 1e-3, 1))], axis=1)
    return np.nan_to_num(described, nan=0.0, posinf=5.0, neginf=-5.0)


def _take_quantiles(values: Floats, shares: Sequence[float]) -> list[Floats]:
    """Of each row (n, p) without its NaN, of which no row is full: (n,) each."""
    last = np.isfinite(values).sum(axis=1) - 1
    ordered = np.sort(values, axis=1)
    rows, places = np.arange(len(values)), [share * last for share in shares]
    low = [np.floor(place).astype(np.int64) for place in places]
    pairs = [(ordered[rows, each], ordered[rows, np.minimum(each + 1, last)]) for each in low]
    return [a + (b - a) * (place - each) for (a, b), place, each in zip(pairs, places, low, strict=True)]


def _read(image: Floats, points: Floats, factor: int) -> Floats:
    """Values at the pixels nearest to points; NaN outside of the picture, but for one value at least."""
    height, width = image.shape
    column = np.rint((points[..., 0] + 0.5) / factor - 0.5).astype(np.int64)
    row = np.rint((points[..., 1] + 0.5) / factor - 0.5).astype(np.int64)
    out = (column < 0) | (row < 0) | (column >= width) | (row >= height)
    out[out.all(axis=-1)] = False
    values = image[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    values[out] = np.nan
    read: Floats = values
    return read
