"""Drawing the truth of one movie: optics, ice, particles, motion, each from its own stream of random numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magellon.simulation.motion_model import sample_motion
from magellon.simulation.phantoms import AtomicModel
from magellon.simulation.spec import SessionSpec
from magellon.simulation.truth import Blob, CtfTruth, MovieTruth, OpticsTruth, ParticleTruth, SurroundingsTruth

Array = NDArray[np.float64]
_STREAMS = {"session": 0, "optics": 1, "surroundings": 2, "particles": 3, "motion": 4, "ice": 5, "noise": 6, "model": 7}
_SUFFIXES = {"tiff": "tiff", "mrc": "mrc", "eer": "eer"}


@dataclass(frozen=True)
class Cast:
    """The models a session shows: those that are wanted, a denatured and a foreign one."""

    models: tuple[AtomicModel, ...]
    wanted: int
    """The first so many are wanted; then the denatured, then the foreign one."""


def stream(spec: SessionSpec, purpose: str, movie: int = 0) -> np.random.Generator:
    """Random numbers for one purpose of one movie, the same whatever else is drawn and in which process."""
    return np.random.default_rng([spec.seed, _STREAMS[purpose], movie])


def sample_movie(spec: SessionSpec, actors: Cast, index: int) -> MovieTruth:
    """The truth of movie `index` (from 0), without rendering anything."""
    optics = sample_optics(spec, index)
    surroundings = sample_surroundings(spec, index)
    motion = sample_motion(stream(spec, "motion", index), spec.motion, spec.shape, spec.frames, spec.exposure_per_frame)
    name = f"{spec.name}_{index + 1:04d}"
    return MovieTruth(
        name,
        f"movies/{name}.{_SUFFIXES[spec.format]}",
        index,
        spec.shape,
        spec.exposure_per_frame,
        spec.stored_per_frame,
        spec.pre_exposure,
        spec.resolution,
        optics,
        surroundings,
        motion,
        sample_particles(spec, actors, surroundings, index),
    )


def sample_optics(spec: SessionSpec, index: int) -> OpticsTruth:
    """The microscope: some values hold for the session, the others for one movie."""
    ranges, session, rng = spec.optics, stream(spec, "session"), stream(spec, "optics", index)
    direction = session.uniform(0, math.pi)
    anisotropy = session.uniform(*ranges.magnification_anisotropy)
    turn = np.array([[math.cos(direction), -math.sin(direction)], [math.sin(direction), math.cos(direction)]])
    matrix = turn @ np.diag([1 + anisotropy / 2, 1 - anisotropy / 2]) @ turn.T
    tilt, tilt_direction = session.uniform(*ranges.beam_tilt), session.uniform(0, 2 * math.pi)
    pixel_size = spec.pixel_size * (1 + session.choice([-1, 1]) * session.uniform(*ranges.pixel_size_error))
    defocus, astigmatism = rng.uniform(*ranges.defocus), rng.uniform(*ranges.astigmatism)
    ctf = CtfTruth(
        float(defocus + astigmatism / 2),
        float(defocus - astigmatism / 2),
        float(rng.uniform(0, 180)),
        float(rng.uniform(*ranges.phase_shift)),
    )
    return OpticsTruth(
        spec.voltage,
        spec.spherical_aberration,
        spec.amplitude_contrast,
        ctf,
        float(rng.uniform(*ranges.envelope_b)),
        (float(tilt * math.cos(tilt_direction)), float(tilt * math.sin(tilt_direction))),
        ((float(matrix[0, 0]), float(matrix[0, 1])), (float(matrix[1, 0]), float(matrix[1, 1]))),
        float(pixel_size),
        spec.pixel_size,
    )


def sample_surroundings(spec: SessionSpec, index: int) -> SurroundingsTruth:
    """Ice, carbon, contamination and the beam's edge."""
    ranges, rng = spec.specimen, stream(spec, "surroundings", index)
    height, width = spec.shape
    blobs = []
    for _ in range(_whole(rng, ranges.contamination)):
        radius = math.exp(rng.uniform(math.log(80), math.log(400))) / spec.pixel_size
        blobs.append(
            Blob(float(rng.uniform(0, width)), float(rng.uniform(0, height)), float(radius), float(rng.uniform(300, 1200)))
        )
    carbon = beam = None
    if rng.random() < ranges.carbon:
        carbon = _edge_circle(rng, spec.shape, rng.uniform(6000, 10000) / spec.pixel_size)
    if rng.random() < ranges.beam_edge:
        beam = _edge_circle(rng, spec.shape, rng.uniform(4000, 8000) / spec.pixel_size)
    return SurroundingsTruth(
        float(rng.uniform(*ranges.ice_thickness)),
        float(rng.uniform(*ranges.ice_roughness)),
        (float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
        carbon,
        float(rng.uniform(100, 250)),
        tuple(blobs),
        beam,
    )


def sample_particles(spec: SessionSpec, actors: Cast, surroundings: SurroundingsTruth, index: int) -> ParticleTruth:
    """Places, poses, heights and kinds of the particles that are in the field or reach into it."""
    ranges, rng = spec.specimen, stream(spec, "particles", index)
    diameter = max(model.diameter for model in actors.models[: actors.wanted])
    height, width = spec.shape
    margin = diameter / 2 / spec.pixel_size
    area = (height + 2 * margin) * (width + 2 * margin) * (spec.pixel_size / 1.2) ** 2 / 2048**2
    points = _scatter(
        rng,
        ((-margin, width + margin), (-margin, height + margin)),
        round(rng.uniform(*ranges.particles) * area),
        rng.uniform(*ranges.crowding) * diameter / spec.pixel_size,
    )
    points = points[~surroundings.obscured(points)]
    count = len(points)
    reach = rng.uniform(*ranges.height)
    # Half of the particles touch one of the two surfaces, the others are anywhere in between.
    surface = np.where(rng.random(count) < 0.5, reach, -reach) + rng.normal(0, 0.05 * reach, count)
    heights = np.where(rng.random(count) < 0.5, np.clip(surface, -reach, reach), rng.uniform(-reach, reach, count))
    kind, model = _sample_kinds(rng, spec, actors, count)
    rot, tilt, psi = _sample_poses(rng, count, rng.uniform(*ranges.preferred_views))
    # What unfolds at a surface lies flat on it.
    tilt = np.where(kind == "denatured", rng.uniform(0, 15, count), tilt)
    cut = np.zeros((count, 4))
    broken = kind == "broken"
    normals = rng.normal(size=(count, 3))
    cut[broken, :3] = (normals / np.linalg.norm(normals, axis=1, keepdims=True))[broken]
    cut[broken, 3] = rng.uniform(-0.2, 0.15, count)[broken] * diameter
    return ParticleTruth(points[:, 0], points[:, 1], rot, tilt, psi, heights, model, kind, cut)


def _sample_kinds(
    rng: np.random.Generator, spec: SessionSpec, actors: Cast, count: int
) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    ranges = spec.specimen
    fractions = np.array([rng.uniform(*pair) for pair in (ranges.broken, ranges.denatured, ranges.foreign)])
    draw = np.searchsorted(np.cumsum(fractions), rng.random(count), side="right")
    kind = np.array(["broken", "denatured", "foreign", "good"])[draw]
    model = rng.integers(0, actors.wanted, count)
    model = np.where(kind == "denatured", actors.wanted, np.where(kind == "foreign", actors.wanted + 1, model))
    return kind, model


def _sample_poses(rng: np.random.Generator, count: int, preferred: float) -> tuple[Array, Array, Array]:
    """Euler angles: uniform over the sphere, a fraction of them within about 12° of one of three views."""
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    views = rng.normal(size=(3, 3))
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    near = views[rng.choice(3, count, p=[0.6, 0.25, 0.15])] + rng.normal(0, 0.15, (count, 3))
    chosen = rng.random(count) < preferred
    directions[chosen] = (near / np.linalg.norm(near, axis=1, keepdims=True))[chosen]
    rot = np.degrees(np.arctan2(directions[:, 1], directions[:, 0]))
    tilt = np.degrees(np.arccos(np.clip(directions[:, 2], -1, 1)))
    return rot, tilt, rng.uniform(-180, 180, count)


def _scatter(
    rng: np.random.Generator, limits: tuple[tuple[float, float], tuple[float, float]], count: int, distance: float
) -> Array:
    """Up to `count` points (n, 2) no nearer to each other than `distance`: random sequential addition."""
    (left, right), (top, bottom) = limits
    accepted: list[Array] = []
    for candidate in rng.uniform((left, top), (right, bottom), (60 * count, 2)):
        if len(accepted) == count:
            break
        if not accepted or (np.hypot(*(np.array(accepted) - candidate).T) >= distance).all():
            accepted.append(candidate)
    return np.array(accepted).reshape(-1, 2)


def _edge_circle(rng: np.random.Generator, shape: tuple[int, int], radius: float) -> tuple[float, float, float]:
    """A circle whose edge crosses the field and leaves more than half of it inside."""
    height, width = shape
    angle, inset = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.35)
    distance = radius - inset * min(shape)
    return (
        float(width / 2 + distance * math.cos(angle)),
        float(height / 2 + distance * math.sin(angle)),
        float(radius),
    )


def _whole(rng: np.random.Generator, pair: Sequence[float]) -> int:
    return int(rng.integers(round(pair[0]), round(pair[1]) + 1))


def denature(model: AtomicModel, rng: np.random.Generator) -> AtomicModel:
    """What is left of a protein at the air-water interface: the same atoms in flat, shapeless lumps."""
    lumps = rng.normal(0, 1, (7, 3)) * model.radius * np.array([0.4, 0.4, 0.06])
    count = len(model.positions)
    spread = model.radius * np.array([0.2, 0.2, 0.08])
    positions = lumps[rng.integers(0, len(lumps), count)] + rng.normal(0, 1, (count, 3)) * spread
    inside = np.linalg.norm(positions, axis=1) < 1.4 * model.radius
    return AtomicModel("denatured", positions[inside].astype(np.float32), model.elements[inside], model.species, b_factor=200.0)
