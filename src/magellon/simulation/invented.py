"""Proteins without end: phantoms whose domains are drawn from a seed, and any protein by one name."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.simulation.phantoms import PLANS, AtomicModel, Domain, Plan, build_model, build_phantom
from magellon.simulation.structure import read_structure


def find_protein(name: str) -> AtomicModel:
    """A phantom of the catalogue, `invented:SEED:DIAMETER`, or the path of a PDB or mmCIF file.

    Raises:
        BadInput: none of these.
    """
    if name in PLANS:
        return build_phantom(name)
    if name.startswith("invented:"):
        try:
            _, seed, diameter = name.split(":")
            return invent_protein(int(seed), float(diameter))
        except ValueError as error:
            raise BadInput(f"protein {name!r}: not of the form invented:SEED:DIAMETER in Å") from error
    if Path(name).exists():
        return read_structure(name)
    raise BadInput(f"protein {name!r}: neither a file, nor invented:SEED:DIAMETER, nor one of {', '.join(PLANS)}")


def invent_protein(seed: int, diameter: float) -> AtomicModel:
    """An asymmetric protein of three to seven domains, about `diameter` Å across (within 15 %).

    Each domain touches an earlier one. So seeds differ in outline, from compact to branched.
    """
    rng = np.random.default_rng([seed, round(diameter)])
    domains = _grow_domains(rng, int(rng.integers(3, 8)))
    # Of the smallest sphere about the middle that holds every ellipsoid, had they all their mean size.
    centres, sizes = np.array([domain.centre for domain in domains]), np.array([domain.semi_axes for domain in domains])
    middle = np.average(centres, axis=0, weights=sizes.prod(axis=1))
    scale = diameter / 2 / (np.linalg.norm(centres - middle, axis=1) + sizes.mean(axis=1)).max()
    scaled = tuple(
        Domain(_triple(scale * centre), _triple(scale * size), domain.direction)
        for centre, size, domain in zip(centres, sizes, domains, strict=True)
    )
    return build_model(f"invented-{seed}", Plan("C1", scaled), rng)


def _grow_domains(rng: np.random.Generator, count: int) -> tuple[Domain, ...]:
    centres: list[NDArray[np.float64]] = [np.zeros(3)]
    sizes = rng.uniform(16, 34, count)
    while len(centres) < count:
        neighbour = int(rng.integers(len(centres)))
        direction = rng.normal(size=3)
        reach = 0.8 * (sizes[neighbour] + sizes[len(centres)])
        centre = centres[neighbour] + direction / np.linalg.norm(direction) * reach
        gaps = [
            math.dist(centre, other) - 0.65 * (sizes[len(centres)] + size) for other, size in zip(centres, sizes, strict=False)
        ]
        if min(gaps) > 0:
            centres.append(centre)
    return tuple(
        Domain(_triple(centre), _triple(size * rng.uniform(0.75, 1.3, 3)), _triple(rng.normal(size=3)))
        for centre, size in zip(centres, sizes, strict=True)
    )


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
