"""Drawing what each image of a stack shows: a flat list of objects in space, and the optics of each micrograph."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.simulation.particle_truth import JUNK_KINDS, ParticleSetSpec, ParticleSetTruth

Array = NDArray[np.float64]
VARIANTS = 3
"""Of each protein, broken and denatured."""
CONE = 40.0
"""Degrees, of the views that an imbalance makes frequent."""


@dataclass(frozen=True)
class Objects:
    """What is seen, one row per object; an image may hold none or several."""

    image: NDArray[np.int64]
    model: NDArray[np.int64]
    """Index into the cast: the proteins, then VARIANTS times a broken one of each, then as many denatured ones."""
    rot: Array
    tilt: Array
    psi: Array
    place: Array
    """(n, 2): x and y from the box's centre, Å."""


@dataclass(frozen=True)
class MicrographOptics:
    """Of each micrograph (m,)."""

    defocus_u: Array
    defocus_v: Array
    defocus_angle: Array
    noise: Array
    """Strength of the noise relative to the mean."""
    group: NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    truth: ParticleSetTruth
    objects: Objects
    optics: MicrographOptics
    height: Array
    """Å, of each image's particle: what its defocus differs from its micrograph's by, unknown to the STAR file."""
    coordinates: Array
    """(n, 2): whole pixels x and y on the micrograph."""


def check_spec(spec: ParticleSetSpec) -> None:
    """Raises BadInput for a stack that cannot be made."""
    weights = spec.abundances or (1.0,) * len(spec.proteins)
    if not spec.proteins or len(weights) != len(spec.proteins) or min(weights) < 0 or sum(weights) <= 0:
        raise BadInput(f"abundances = {spec.abundances}: not one positive number for each of {len(spec.proteins)} proteins")
    if unknown := set(spec.junk_kinds) - set(JUNK_KINDS):
        raise BadInput(f"junk_kinds = {sorted(unknown)}: known are {', '.join(JUNK_KINDS)}")
    if spec.count < 1 or spec.box < 16 or spec.box % 2:
        raise BadInput(f"count = {spec.count}, box = {spec.box}: at least one image, in an even box of at least 16 px")
    if not 0 <= spec.junk <= 1 or spec.snr <= 0:
        raise BadInput(f"junk = {spec.junk}, snr = {spec.snr}: a fraction from 0 to 1 and a positive number are needed")


def draw_scene(spec: ParticleSetSpec, diameters: Array) -> Scene:
    """Everything but the pixels. `diameters` are those of the proteins in Å."""
    check_spec(spec)
    rng = np.random.default_rng([spec.seed, 0])
    n, proteins = spec.count, len(spec.proteins)
    kind = _draw_kinds(spec, rng)
    weights = np.array(spec.abundances or (1.0,) * proteins)
    protein = rng.choice(proteins, n, p=weights / weights.sum())
    rot, tilt, psi = _draw_poses(spec, rng, protein)
    place = rng.normal(0, spec.centring_error, (n, 2))
    away = kind == "off-centre"
    place[away] = _at_distance(rng, diameters[protein] * rng.uniform(0.55, 0.8, n))[away]
    empty = np.isin(kind, ("empty", "carbon", "crystal"))
    # Carbon and ice carry particles, too, but seldom where somebody picked a crystal.
    shown = np.flatnonzero(~empty)
    variant = rng.integers(1, 1 + VARIANTS, n)
    model = protein + proteins * (variant * (kind == "broken") + (VARIANTS + variant) * (kind == "denatured"))
    objects = [Objects(shown, model[shown], rot[shown], tilt[shown], psi[shown], place[shown])]
    objects += [_add_others(spec, rng, kind, place, diameters)]
    micrograph = np.arange(n) // spec.per_micrograph
    truth = ParticleSetTruth(kind, np.where(empty, -1, protein), rot, tilt, psi, -place, micrograph)
    joined = Objects(*(np.concatenate([getattr(part, name) for part in objects]) for name in Objects.__annotations__))
    return Scene(
        truth, joined, _draw_optics(spec, rng), rng.uniform(-200, 200, n), rng.integers(200, 3896, (n, 2)).astype(float)
    )


def _draw_kinds(spec: ParticleSetSpec, rng: np.random.Generator) -> NDArray[np.str_]:
    """Exactly the fractions asked for, in random order."""
    junk = round(spec.junk * spec.count)
    names = list(spec.junk_kinds)
    weights = np.array([spec.junk_kinds[name] for name in names], dtype=np.float64)
    edges = np.round(np.cumsum(weights) / weights.sum() * junk).astype(int) if junk else np.zeros(len(names), dtype=int)
    counts = np.diff(edges, prepend=0)
    kinds = np.repeat([*names, "good"], [*counts.tolist(), spec.count - int(counts.sum())])
    return rng.permutation(kinds)


def _draw_poses(spec: ParticleSetSpec, rng: np.random.Generator, protein: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Views uniform over the sphere, or more of them in one cone per protein."""
    n = len(protein)
    views = _unit_vectors(rng, n)
    axes = _unit_vectors(rng, len(spec.proteins))[protein]
    solid = (1 - np.cos(np.radians(CONE))) / 2
    share = spec.view_imbalance * solid / (spec.view_imbalance * solid + 1 - solid)
    wanted = rng.random(n) < share
    wrong = np.ones(n, dtype=bool)
    if spec.view_imbalance != 1:
        while wrong.any():
            views[wrong] = _unit_vectors(rng, int(wrong.sum()))
            wrong = ((views * axes).sum(axis=1) > np.cos(np.radians(CONE))) != wanted
    rot = np.degrees(np.arctan2(views[:, 1], views[:, 0]))
    tilt = np.degrees(np.arccos(np.clip(views[:, 2], -1, 1)))
    return rot, tilt, rng.uniform(-180, 180, n)


def _add_others(
    spec: ParticleSetSpec, rng: np.random.Generator, kind: NDArray[np.str_], place: Array, diameters: Array
) -> Objects:
    """Neighbours beside particles, and what sticks to the first particle of an aggregate."""
    n, largest = len(kind), float(diameters.max())
    beside = np.flatnonzero((rng.random(n) < spec.neighbours) & (kind != "aggregate"))
    clumped = np.repeat(np.flatnonzero(kind == "aggregate"), 3)
    image = np.concatenate([beside, clumped])
    distance = np.concatenate([rng.uniform(0.85, 1.3, len(beside)), rng.uniform(0.25, 0.7, len(clumped))]) * largest
    views = _unit_vectors(rng, len(image))
    return Objects(
        image,
        rng.integers(0, len(spec.proteins), len(image)),
        np.degrees(np.arctan2(views[:, 1], views[:, 0])),
        np.degrees(np.arccos(views[:, 2])),
        rng.uniform(-180, 180, len(image)),
        place[image] + _at_distance(rng, distance),
    )


def _draw_optics(spec: ParticleSetSpec, rng: np.random.Generator) -> MicrographOptics:
    m = -(-spec.count // spec.per_micrograph)
    mean, difference = rng.uniform(*spec.defocus, m), rng.uniform(*spec.astigmatism, m)
    group = np.arange(m) * spec.optics_groups // m
    noise = (
        rng.uniform(0.85, 1.15, m) * np.linspace(0.9, 1.1, spec.optics_groups)[group] if spec.optics_groups > 1 else np.ones(m)
    )
    return MicrographOptics(mean + difference / 2, mean - difference / 2, rng.uniform(0, 180, m), noise, group)


def _unit_vectors(rng: np.random.Generator, count: int) -> Array:
    vectors = rng.normal(size=(count, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _at_distance(rng: np.random.Generator, distance: Array) -> Array:
    angle = rng.uniform(0, 2 * np.pi, len(distance))
    return np.asarray(distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))
