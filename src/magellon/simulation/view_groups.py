"""Views of a protein that belong together: their mean, their distances, and the best partition of all into groups.

A rotation (3, 3) takes the object into the image; its third row is the view. Operators are those of the object's symmetry:
what is seen after `rotation @ operator` is what is seen after `rotation`.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_STARTS = 48
_ROUNDS = 4


def view_angles(views: Array, directions: Array, operators: Array) -> Array:
    """Degrees between each view (n, 3) and each direction (m, 3), the copies by symmetry considered: (n, m)."""
    cosine = np.max([(views @ operator) @ directions.T for operator in operators], axis=0)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def nearest_views(views: Array, direction: Array, operators: Array) -> Array:
    """The copy of each view (n, 3) that lies nearest to a direction (3,)."""
    copies = np.stack([views @ operator for operator in operators], axis=1)
    best = (copies @ direction).argmax(axis=1)
    return np.asarray(copies[np.arange(len(views)), best])


def find_mean_view(views: Array, operators: Array) -> Array:
    """(3,): the direction about which views (n, 3) gather, found from the view with the smallest median distance to others."""
    starts = views[:: max(1, len(views) // _STARTS)]
    middle = starts[np.median(view_angles(views, starts, operators), axis=0).argmin()]
    for _ in range(_ROUNDS):
        mean = nearest_views(views, middle, operators).mean(axis=0)
        middle = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return np.asarray(middle)


def partition_views(views: Array, groups: int, operators: Array, seed: int = 0) -> NDArray[np.int64]:
    """Group (n,) of each view in a partition by nearest mean (Lloyd 1982): about the best that classification can do."""
    rng = np.random.default_rng(seed)
    centres = views[rng.choice(len(views), min(groups, len(views)), replace=False)]
    for _ in range(12):
        group = view_angles(views, centres, operators).argmin(axis=1)
        for number in range(len(centres)):
            members = views[group == number]
            if len(members):
                mean = nearest_views(members, centres[number], operators).mean(axis=0)
                centres[number] = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return np.asarray(view_angles(views, centres, operators).argmin(axis=1))


def in_plane_angles(rotations: Array, view: Array, operators: Array, tolerance: float = 10.0) -> Array:
    """Degrees (n, operators) by which each copy is turned in the plane against one fixed rotation to `view`.

    NaN for copies whose view is further from `view` than the nearest copy's by more than `tolerance` degrees.
    """
    helper = np.eye(3)[np.abs(view).argmin()]
    first = np.cross(helper, view)
    first /= np.linalg.norm(first)
    frame = np.stack([first, np.cross(view, first), view])
    turned = np.einsum("nij,ojk,lk->noil", rotations, operators, frame)
    angle = np.degrees(np.arctan2(turned[..., 0, 1] - turned[..., 1, 0], turned[..., 0, 0] + turned[..., 1, 1]))
    apart = np.degrees(np.arccos(np.clip(turned[..., 2, 2], -1, 1)))
    return np.asarray(np.where(apart <= apart.min(axis=1, keepdims=True) + tolerance, angle, np.nan))
