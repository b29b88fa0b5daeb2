"""Point groups in RELION's setting: n-fold along z, two-folds of D along x, four-folds of O along the axes."""

import math

import numpy as np
from numpy.typing import NDArray


def symmetry_operators(group: str) -> NDArray[np.float64]:
    """Rotation matrices (m, 3, 3) of C1..., D1..., T or O, the identity first.

    Raises:
        ValueError: another name.
    """
    kind, order = group[:1].upper(), group[1:]
    if kind in {"C", "D"} and order.isdigit() and int(order) > 0:
        generators = [rotation_about((0, 0, 1), 360 / int(order))]
        if kind == "D":
            generators.append(rotation_about((1, 0, 0), 180))
    elif kind in {"T", "O"} and not order:
        generators = [rotation_about((1, 1, 1), 120), rotation_about((0, 0, 1), 90 if kind == "O" else 180)]
    else:
        raise ValueError(f"symmetry {group!r}: known are C1, C2, ..., D2, D3, ..., T and O")
    return close_group(generators)


def rotation_about(axis: tuple[float, float, float], degrees: float) -> NDArray[np.float64]:
    """The matrix that turns by an angle about an axis (Rodrigues)."""
    x, y, z = np.array(axis, dtype=np.float64) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross)


def close_group(generators: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """All products of some rotations."""
    group = [np.eye(3)]
    for element in group:
        for generator in generators:
            product = generator @ element
            if not any(np.allclose(product, known, atol=1e-6) for known in group):
                group.append(product)
    return np.stack(group)
