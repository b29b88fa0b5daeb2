"""Orientations: RELION's three angles and cryoSPARC's rotation vector.

With A(rot, tilt, psi) RELION's matrix, which takes the object's coordinates to the image's, the vector is that of the inverse
of A: along its axis, as long as its angle in radians. For rot = tilt = 0 it is (0, 0, psi).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Angles = NDArray[np.float64]

_POLE = 1e-6
"""Sine of the tilt below which rot and psi are one angle: a float32 vector cannot tell."""


def make_rotation_vectors(angles: Angles) -> NDArray[np.float64]:
    """(n, 3) rot, tilt, psi in degrees > (n, 3) rotation vectors in radians."""
    if not len(angles):
        return np.zeros((0, 3))
    vectors: NDArray[np.float64] = Rotation.from_euler("ZYZ", angles, degrees=True).as_rotvec()
    return vectors


def make_euler_angles(vectors: NDArray[np.floating[Any]]) -> Angles:
    """(n, 3) rotation vectors in radians > (n, 3) rot, tilt, psi in degrees; tilt from 0 to 180, rot 0 at the poles."""
    if not len(vectors):
        return np.zeros((0, 3))
    matrix = Rotation.from_rotvec(vectors.astype(np.float64)).as_matrix()
    sine = np.hypot(matrix[:, 0, 2], matrix[:, 1, 2])
    pole = sine < _POLE
    tilt = np.arctan2(sine, matrix[:, 2, 2])
    rot = np.where(pole, 0.0, np.arctan2(matrix[:, 1, 2], matrix[:, 0, 2]))
    psi = np.where(pole, np.arctan2(matrix[:, 1, 0], matrix[:, 1, 1]), np.arctan2(matrix[:, 2, 1], -matrix[:, 2, 0]))
    angles: Angles = np.degrees(np.stack([rot, tilt, psi], axis=1))
    return angles
