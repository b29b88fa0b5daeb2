"""Phantoms: proteins that never existed, built by code, with everything a map of 3 Å can show.

A phantom is packed like a protein: domains (ellipsoids) are filled with right-handed alpha-helices, about 10 Å apart, each
domain in its own direction, at the density of protein (one heavy atom in about 17 Å³). So it is chiral at every scale, has
features at 10 Å (helices), 5 Å (pitch) and below 3 Å (atoms), and its contrast in ice follows from the scattering of its atoms.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from magellon.simulation.symmetry import symmetry_operators

Array = NDArray[np.float64]
Inside = Callable[[Array], NDArray[np.bool_]]

HELIX_RISE = 1.5
"""Å along the axis for each residue."""
HELIX_SPACING = 9.6
"""Å between the axes of neighbouring helices."""
# Radius (Å), angle (degrees) and height (Å) of the backbone of one residue about a helix axis, and the elements.
_BACKBONE = (
    ("N", 1.55, 0.0, 0.0),
    ("C", 2.29, 27.0, 0.9),
    ("C", 1.65, 54.0, 2.0),
    ("O", 1.95, 58.0, 3.2),
    ("C", 3.30, 22.0, 0.3),
)
_SIDE_CHAIN = 6
"""Longest side chain beyond the first carbon, in atoms."""
_KINDS = {"C": 0, "N": 1, "O": 2}


@dataclass(frozen=True)
class AtomicModel:
    """Atoms to be imaged.

    `positions` are (n, 3), (x, y, z) in Å about the particle's centre; `elements` (n,) index into `species`.
    """

    name: str
    positions: NDArray[np.float32]
    elements: NDArray[np.int64]
    species: tuple[str, ...]
    b_factor: float = 25.0
    """Å²; amplitudes fall as exp(-B k² / 4)."""
    symmetry: str = "C1"

    @property
    def radius(self) -> float:
        """Of the smallest sphere about the centre that holds all atoms, Å."""
        return float(np.sqrt((self.positions.astype(np.float64) ** 2).sum(axis=1).max()))

    @property
    def diameter(self) -> float:
        """Å, with the size of an atom."""
        return 2 * self.radius + 3

    def mirrored(self) -> "AtomicModel":
        """The enantiomer: z inverted."""
        flip = np.array([1, 1, -1], dtype=np.float32)
        return AtomicModel(
            f"{self.name}-mirrored", self.positions * flip, self.elements, self.species, self.b_factor, self.symmetry
        )


@dataclass(frozen=True)
class Domain:
    """An ellipsoid of packed helices."""

    centre: tuple[float, float, float]
    semi_axes: tuple[float, float, float]
    direction: tuple[float, float, float]
    """Of the helices, and of the third semi-axis."""


@dataclass(frozen=True)
class Plan:
    """What one asymmetric unit holds, the symmetry that repeats it, and a shell it is cut to."""

    symmetry: str
    domains: tuple[Domain, ...]
    shell: tuple[float, float] = (0.0, math.inf)
    """Inner and outer radius in Å."""


PLANS: dict[str, Plan] = {
    "asymmetric": Plan(
        "C1",
        (
            Domain((0, 0, 0), (42, 36, 48), (0.1, 0.2, 1)),
            Domain((46, 10, 28), (30, 26, 38), (1, 0.2, 0.5)),
            Domain((-34, 34, 22), (27, 30, 36), (0.3, 1, 0.4)),
            Domain((-22, -42, -16), (28, 26, 38), (0.2, -0.8, 1)),
            Domain((16, 28, -54), (25, 27, 33), (0.9, 0.6, -0.5)),
            Domain((50, -28, -18), (23, 22, 32), (-0.6, 1, 0.1)),
            Domain((6, -8, 66), (21, 24, 30), (-1, 0.4, 0.3)),
        ),
    ),
    "monomer": Plan(
        "C1",
        (
            Domain((0, 0, 6), (22, 18, 30), (0.2, 0.1, 1)),
            Domain((20, 12, -22), (14, 16, 22), (1, 0.3, -0.4)),
            Domain((-22, 14, -14), (13, 12, 22), (-0.4, 1, 0.5)),
        ),
    ),
    "rod": Plan(
        "C2",
        (
            Domain((32, 6, 4), (22, 20, 38), (1, 0.2, 0.3)),
            Domain((92, 16, -6), (19, 22, 34), (0.7, -0.5, 0.8)),
            Domain((64, -14, 14), (15, 15, 26), (0.2, 1, 0.1)),
        ),
    ),
    "channel": Plan(
        "C4",
        (
            Domain((21, 6, -10), (15, 16, 32), (0.25, 0.1, 1)),
            Domain((24, 22, 40), (17, 14, 22), (1, 0.4, 0.2)),
            Domain((34, -14, 34), (13, 12, 18), (0.3, 1, 0.5)),
        ),
    ),
    "tetramer": Plan(
        "D2",
        (
            Domain((18, 20, 28), (19, 20, 27), (0.4, -0.2, 1)),
            Domain((34, 18, 62), (15, 18, 22), (1, 0.2, 0.1)),
            Domain((40, 34, 14), (17, 15, 22), (-0.3, 1, 0.6)),
        ),
    ),
    "barrel": Plan(
        "D7",
        (
            # A quarter of the angle between subunits off the two-fold axes: as unlike the mirror image as can be.
            Domain((42.9, 9.8, 24), (15, 16, 20), (0.3, 0.8, 0.6)),
            Domain((42.9, -9.8, 58), (15, 13, 20), (0.6, 1, 0.8)),
            Domain((58.5, 13.4, 36), (11, 11, 18), (0.2, -0.8, 1)),
        ),
    ),
    "shell": Plan(
        "O",
        (Domain((50, 14, 18), (22, 24, 26), (0.2, 1, 0.5)), Domain((46, 34, 8), (16, 20, 20), (1, -0.4, 0.6))),
        (38, 64),
    ),
    "capsid": Plan(
        "O",
        (
            Domain((140, 20, 30), (40, 44, 44), (0.2, 1, 0.5)),
            Domain((118, 84, 26), (38, 42, 36), (1, -0.4, 0.6)),
            Domain((126, 44, 84), (36, 30, 40), (0.1, -0.6, 1)),
        ),
        (132, 172),
    ),
}
"""At least 100 Å and at most 350 Å across, from no symmetry to D7 and O; shells, a barrel, a rod."""


def phantom_names() -> tuple[str, ...]:
    return tuple(PLANS)


@cache
def build_phantom(name: str) -> AtomicModel:
    """A phantom of the catalogue, always the same atoms.

    Raises:
        KeyError: no such phantom.
    """
    return build_model(name, PLANS[name], np.random.default_rng(1))


def build_model(name: str, plan: Plan, rng: np.random.Generator) -> AtomicModel:
    """The atoms of a plan, about their centre where no symmetry fixes it."""
    operators = symmetry_operators(plan.symmetry)
    positions, elements = _fill_unit(plan, operators, rng)
    positions = np.concatenate([positions @ operator.T for operator in operators])
    elements = np.tile(elements, len(operators))
    if plan.symmetry == "C1":
        positions = positions - positions.mean(axis=0)
    elif plan.symmetry[0] == "C":
        positions[:, 2] -= positions[:, 2].mean()
    return AtomicModel(name, positions.astype(np.float32), elements, ("C", "N", "O"), symmetry=plan.symmetry)


def _fill_unit(plan: Plan, operators: Array, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
    """Atoms of one asymmetric unit. Where domains of it and its copies overlap, each point belongs to the nearest."""
    positions, elements = [], []
    for index, domain in enumerate(plan.domains):
        atoms, kinds = pack_helices(domain, rng)
        radius = np.linalg.norm(atoms, axis=1)
        in_shell = (radius > plan.shell[0]) & (radius < plan.shell[1])
        atoms, kinds = atoms[in_shell], kinds[in_shell]
        own = _scaled_distance(atoms, domain, np.eye(3))
        keep = np.ones(len(atoms), dtype=bool)
        for other_index, other in enumerate(plan.domains):
            for number, operator in enumerate(operators):
                apart = float(np.linalg.norm(operator @ np.array(other.centre) - np.array(domain.centre)))
                if (other_index, number) != (index, 0) and apart < 1.3 * (max(domain.semi_axes) + max(other.semi_axes)):
                    keep &= own <= _scaled_distance(atoms, other, operator)
        positions.append(atoms[keep])
        elements.append(kinds[keep])
    return np.concatenate(positions), np.concatenate(elements)


def pack_helices(domain: Domain, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
    """Atoms (n, 3) and elements (n,) of a bundle of helices in an ellipsoid with a ragged surface.

    Axes lie about 10 Å apart, but as in a protein none is straight or parallel to another for long: each is a row of short
    helices, displaced and tilted at random, so that the bundle shows no lattice.
    """
    frame = _frame(domain.direction)
    reach = max(domain.semi_axes) + HELIX_SPACING
    count = math.ceil(reach / HELIX_SPACING) + 1
    atoms, kinds = [], []
    for i in range(-count, count + 1):
        for j in range(-count, count + 1):
            axis = HELIX_SPACING * np.array([i + j / 2, j * math.sqrt(3) / 2])
            bottom = -reach - rng.uniform(0, 20)
            while np.hypot(*axis) < reach and bottom < reach:
                residues = int(rng.integers(7, 22))
                length = HELIX_RISE * residues
                centre = np.array([*(axis + rng.normal(0, 1.3, 2)), bottom + length / 2])
                nearest = np.abs(centre) - (6, 6, length / 2)
                if np.linalg.norm(np.maximum(nearest, 0) / domain.semi_axes) < 1.2:
                    helix, elements = build_helix(residues, rng)
                    helix = helix @ _frame((*rng.normal(0, 0.16, 2), 1.0)) + centre
                    # Whole helices stick out or fall short, which roughens the surface.
                    inside = np.linalg.norm(helix / domain.semi_axes, axis=1) < 1 + rng.normal(0, 0.08)
                    atoms.append(helix[inside])
                    kinds.append(elements[inside])
                bottom += length + rng.uniform(1, 5)
    return np.concatenate(atoms) @ frame + np.array(domain.centre), np.concatenate(kinds)


def build_helix(residues: int, rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
    """A right-handed alpha-helix about z with its middle at the origin, its side chains random walks outward."""
    residue = np.arange(residues)
    turn = rng.uniform(0, 2 * math.pi)
    middle = HELIX_RISE * residues / 2
    atoms, kinds = [], []
    for element, distance, angle, height in _BACKBONE:
        phase = turn + np.radians(100.0 * residue + angle)
        along = HELIX_RISE * residue + height - middle
        atoms.append(np.stack([distance * np.cos(phase), distance * np.sin(phase), along], axis=1))
        kinds.append(np.full(residues, _KINDS[element]))
    place = atoms[-1]
    outward = place * np.array([1, 1, 0]) / np.linalg.norm(place[:, :2], axis=1, keepdims=True)
    length = rng.integers(0, _SIDE_CHAIN + 1, residues)
    for number in range(_SIDE_CHAIN):
        step = 0.7 * outward + rng.normal(0, 0.8, (residues, 3))
        place = place + 1.5 * step / np.linalg.norm(step, axis=1, keepdims=True)
        grown = length > number
        atoms.append(place[grown])
        kinds.append(np.where(rng.random(int(grown.sum())) < 0.7, _KINDS["C"], rng.choice([_KINDS["N"], _KINDS["O"]])))
    return np.concatenate(atoms), np.concatenate(kinds)


def _frame(direction: tuple[float, float, float]) -> Array:
    """Rows: two normals and the direction itself, right-handed."""
    third = np.array(direction) / np.linalg.norm(direction)
    helper = np.eye(3)[int(np.argmin(np.abs(third)))]
    first = np.cross(helper, third)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(third, first), third])


def _scaled_distance(atoms: Array, domain: Domain, operator: Array) -> Array:
    """Distance from the domain's centre (moved by a symmetry operator) in units of its radius in that direction."""
    frame = _frame(domain.direction) @ operator.T
    local = (atoms - operator @ np.array(domain.centre)) @ frame.T
    return np.asarray(np.linalg.norm(local / np.array(domain.semi_axes), axis=1))
