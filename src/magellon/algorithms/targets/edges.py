"""Centres and sizes from the edges of what was found: bright inside, dark outside."""

import math

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from magellon.algorithms.targets.candidates import Floats
from magellon.algorithms.targets.planes import reduce_image

_RAYS, _STEPS = 40, 31
_REACH = 0.4
"""How far inside and outside of the given edge is looked, relative to the radius or half side."""
_ROUNDS = 5
_FINE = 12.0
"""Radius or half side in pixels at which edges are measured: finer is noise."""
_ODD = 0.12
"""Difference in size from most that shows that a circle has gone astray."""
_FARTHEST = 0.3
"""A centre never moves by more, relative to the radius or half side."""


def refine_circles(
    image: torch.Tensor, x: Floats, y: Floats, radius: Floats, *, keep_radius: bool = False
) -> tuple[Floats, Floats, Floats]:
    """Circles laid on the steepest fall of brightness around them; where there is none they stay as they are.

    A circle that comes out of another size than most is laid again, at their size.

    Args:
        image: (height, width) of finite values.
        keep_radius: only move them.
    """
    if len(x) == 0:
        return x, y, radius
    moved = _fit_circles(image, x, y, radius, keep_radius)
    usual = np.float32(np.median(moved[2]))
    odd = np.abs(moved[2] / usual - 1) > _ODD
    if odd.any() and not keep_radius:
        again = _fit_circles(image, x[odd], y[odd], np.full(int(odd.sum()), usual), True)
        for values, corrected in zip(moved, again, strict=True):
            values[odd] = corrected
    return moved


def _fit_circles(image: torch.Tensor, x: Floats, y: Floats, radius: Floats, keep_radius: bool) -> tuple[Floats, Floats, Floats]:
    small, factor = _shrink(image, radius)
    turn = np.linspace(0, 2 * math.pi, _RAYS, endpoint=False)
    design = np.stack([np.ones(_RAYS), np.cos(turn), np.sin(turn)], axis=1)
    steps = np.linspace(1 - _REACH, 1 + _REACH, _STEPS)
    state = np.stack([(x + 0.5) / factor - 0.5, (y + 0.5) / factor - 0.5, radius / factor], axis=1).astype(np.float64)
    start = state.copy()
    for _ in range(_ROUNDS):
        reach = state[:, 2, None, None] * steps
        across = state[:, 0, None, None] + reach * np.cos(turn)[:, None]
        down = state[:, 1, None, None] + reach * np.sin(turn)[:, None]
        values, inside = _sample(small, across, down)
        values = (np.roll(values, -1, axis=1) + values + np.roll(values, 1, axis=1)) / 3
        place, weight = _find_fall(values, steps)
        weight = weight * inside.all(axis=2)
        normal = np.einsum("nr,ri,rj->nij", weight, design, design) + 1e-3 * np.eye(3) * (weight.sum(1)[:, None, None] + 1e-9)
        moved = np.einsum("nr,ri,nr->ni", weight, design, (place - 1) * state[:, 2, None])
        change = np.linalg.solve(normal, moved[..., None])[..., 0]
        state[:, 2] += 0 if keep_radius else change[:, 0]
        state[:, :2] += change[:, 1:]
        state = _hold(state, start)
    return _unshrink(state, factor)


def refine_squares(image: torch.Tensor, x: Floats, y: Floats, side: Floats, angle: Floats) -> tuple[Floats, Floats, Floats]:
    """The same for squares: each of the four sides is laid on the fall of the brightness averaged along it.

    Args:
        angle: degrees from +x toward +y.
    """
    if len(x) == 0:
        return x, y, side
    small, factor = _shrink(image, side / 2)
    steps = np.linspace(1 - _REACH, 1 + _REACH, _STEPS)
    along = np.linspace(-0.7, 0.7, 15)
    state = np.stack([(x + 0.5) / factor - 0.5, (y + 0.5) / factor - 0.5, side / 2 / factor], axis=1).astype(np.float64)
    start = state.copy()
    for _ in range(_ROUNDS):
        places, weights = [], []
        for quarter in range(4):
            turn = np.radians(angle + 90 * quarter)[:, None, None]
            u, v = state[:, 2, None, None] * steps[None, None], state[:, 2, None, None] * along[None, :, None]
            across = state[:, 0, None, None] + u * np.cos(turn) - v * np.sin(turn)
            down = state[:, 1, None, None] + u * np.sin(turn) + v * np.cos(turn)
            values, inside = _sample(small, across, down)
            count = inside.sum(axis=1)
            profile = (values * inside).sum(axis=1) / np.maximum(count, 1)
            place, weight = _find_fall(profile[:, None], steps)
            places.append((place[:, 0] - 1) * state[:, 2])
            weights.append(weight[:, 0] * (count >= 8).all(axis=1))
        off, trust = np.stack(places, axis=1), np.minimum(np.stack(weights, axis=1) * 4, 1)
        pair = trust[:, :2] * trust[:, 2:]
        turn = np.radians(angle)
        move_u, move_v = (pair[:, axis] * (off[:, axis] - off[:, axis + 2]) / 2 for axis in (0, 1))
        state[:, 2] += (trust * off).sum(1) / np.maximum(trust.sum(1), 1)
        state[:, 0] += move_u * np.cos(turn) - move_v * np.sin(turn)
        state[:, 1] += move_u * np.sin(turn) + move_v * np.cos(turn)
        state = _hold(state, start)
    moved_x, moved_y, half = _unshrink(state, factor)
    return moved_x, moved_y, 2 * half


def measure_angle(image: torch.Tensor, x: Floats, y: Floats, side: Floats) -> tuple[float, float]:
    """The angle of all squares together, degrees in [-45, 45), from the directions of the edges near them; and how much these
    agree, 0-1: the fourth circular moment of the gradients."""
    small, factor = _shrink(image, side / 2)
    if min(small.shape) < 2:
        return 0.0, 0.0
    down, along = (np.asarray(each) for each in np.gradient(gaussian_filter(small.astype(np.float64), 1.0)))
    near = np.zeros(small.shape, dtype=np.bool_)
    rows, columns = np.mgrid[: small.shape[0], : small.shape[1]]
    for cx, cy, reach in zip((x + 0.5) / factor - 0.5, (y + 0.5) / factor - 0.5, 0.62 * side / factor, strict=True):
        top, left = max(int(cy - reach), 0), max(int(cx - reach), 0)
        patch = (slice(top, int(cy + reach) + 1), slice(left, int(cx + reach) + 1))
        distance = np.hypot(rows[patch] - cy, columns[patch] - cx) / reach
        near[patch] |= (distance > 0.6) & (distance < 1)
    steep = np.asarray(np.hypot(along, down))[near]
    if steep.size == 0 or steep.max() == 0:
        return 0.0, 0.0
    weight = np.minimum(steep, np.percentile(steep, 95)) ** 2
    moment = np.sum(weight * np.exp(4j * np.arctan2(down[near], along[near]))) / weight.sum()
    return float(np.degrees(np.angle(moment)) / 4), float(np.abs(moment))


def _shrink(image: torch.Tensor, radius: Floats) -> tuple[Floats, int]:
    factor = max(int(float(np.median(radius)) / _FINE), 1)
    return reduce_image(image, factor).cpu().numpy(), factor


def _unshrink(state: Floats, factor: int) -> tuple[Floats, Floats, Floats]:
    x, y = ((state[:, axis] + 0.5) * factor - 0.5 for axis in (0, 1))
    return x.astype(np.float32), y.astype(np.float32), (state[:, 2] * factor).astype(np.float32)


def _hold(state: Floats, start: Floats) -> Floats:
    """Never far from where the network saw it."""
    reach = _FARTHEST * start[:, 2]
    step = state[:, :2] - start[:, :2]
    length = np.hypot(*step.T)
    share = np.where(length > reach, reach / np.maximum(length, 1e-9), 1.0)
    size = np.clip(state[:, 2], (1 - _FARTHEST) * start[:, 2], (1 + _FARTHEST) * start[:, 2])
    held: Floats = np.column_stack([start[:, :2] + step * share[:, None], size])
    return held


def _sample(image: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Values between pixels, and which points lie in the picture."""
    height, width = image.shape
    inside = (x >= -0.5) & (y >= -0.5) & (x <= width - 0.5) & (y <= height - 0.5)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.minimum(x.astype(np.int64), max(width - 2, 0)), np.minimum(y.astype(np.int64), max(height - 2, 0))
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    fx, fy = x - left, y - top
    upper = image[top, left] * (1 - fx) + image[top, right] * fx
    lower = image[below, left] * (1 - fx) + image[below, right] * fx
    return upper * (1 - fy) + lower * fy, inside


def _find_fall(values: Floats, steps: Floats) -> tuple[Floats, Floats]:
    """Where along its last axis each profile falls most (in the units of `steps`), and how much it is to be trusted, 0-1."""
    smooth = (values[..., :-2] + values[..., 1:-1] + values[..., 2:]) / 3
    fall = np.maximum(smooth[..., :-4] - smooth[..., 4:], 0)
    middle = steps[3:-3]
    prior = np.exp(-(((middle - 1) / 0.25) ** 2))
    weight = (fall * prior) ** 4
    total = weight.sum(axis=-1)
    place = np.where(total > 0, (weight * middle).sum(axis=-1) / np.maximum(total, 1e-300), 1.0)
    spread = smooth.max(axis=-1) - smooth.min(axis=-1)
    trust = np.where(spread > 0, fall.max(axis=-1) / np.maximum(spread, 1e-300), 0.0)
    return place, trust
