"""All that is not to be picked, drawn at the scale of a particle: crystals, carbon and gold film, the beam's edge, holes.

Lengths are cells of the picture; strengths are in units of what a particle gives.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from magellon.simulation.surroundings import smooth_noise

Image = NDArray[np.float32]


@dataclass
class Dirt:
    """Images of the canvas (size, size)."""

    phase: Image
    """Goes through the CTF, as particles do."""
    absorption: Image
    """Does not."""
    grain: Image
    """How much stronger the noise of the specimen is than in ice; 0: as in ice."""
    beam: Image
    """Illumination, 1 inside."""
    mask: NDArray[np.bool_]
    """Where no particle should be picked."""


def draw_dirt(rng: np.random.Generator, size: int, cells: float) -> Dirt:
    """What a field may show besides particles of `cells` diameter; often nothing."""
    zeros = np.zeros((size, size), dtype=np.float32)
    dirt = Dirt(zeros.copy(), zeros.copy(), zeros.copy(), np.ones_like(zeros), zeros > 1)
    if rng.random() < 0.45:
        for _ in range(int(rng.integers(1, 7))):
            _add_crystal(rng, dirt, cells)
    if rng.random() < 0.22:
        _add_film(rng, dirt, cells)
    if rng.random() < 0.07:
        _add_beam_edge(rng, dirt, cells)
    if rng.random() < 0.06:
        _add_hole(rng, dirt, cells)
    if rng.random() < 0.06:
        _add_filaments(rng, dirt, cells)
    return dirt


def _grid(size: int) -> tuple[Image, Image]:
    line = np.arange(size, dtype=np.float32)
    return line[:, None], line[None, :]


def _field(rng: np.random.Generator, size: int, length: float) -> Image:
    """A random field of unit variance."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return np.asarray(smooth_noise((size, size), length, generator).numpy())


def _add_crystal(rng: np.random.Generator, dirt: Dirt, cells: float) -> None:
    """A lump: round, ragged or with straight faces; soft or sharp; smaller than a particle or many times larger."""
    size = len(dirt.phase)
    radius = cells * math.exp(rng.uniform(math.log(0.2), math.log(2.2)))
    y, x = _grid(size)
    dy, dx = y - np.float32(rng.uniform(0, size)), x - np.float32(rng.uniform(0, size))
    turn, stretch = rng.uniform(0, math.pi), rng.uniform(1, 1.8)
    u = (dx * math.cos(turn) + dy * math.sin(turn)) * stretch
    v = (dy * math.cos(turn) - dx * math.sin(turn)) / stretch
    if rng.random() < 0.35:
        faces = rng.uniform(0, 0.3) + np.arange(6) * math.pi / 3
        distance = np.max([u * math.cos(face) + v * math.sin(face) for face in faces], axis=0) / radius
    else:
        distance = np.sqrt(u**2 + v**2) / radius
        distance = distance / (1 + rng.uniform(0, 0.25) * _field(rng, size, max(radius / 3, 1.5)).clip(-2, 2))
    profile = np.sqrt(np.clip(1 - distance ** rng.uniform(2, 8), 0, None)).astype(np.float32)
    profile *= 1 + rng.uniform(0, 0.4) * _field(rng, size, max(radius / 8, 1.0))
    # Large lumps are strong; a small weak one cannot be told from a particle.
    least = 2.0 if radius < 0.8 * cells else 0.7
    strength = least * math.exp(rng.uniform(0, math.log(20)))
    dirt.phase += np.float32(strength * rng.uniform(0.2, 1)) * profile
    dirt.absorption += np.float32(strength * rng.uniform(0, 0.5)) * profile
    dirt.mask |= distance < 1.03


def _edge(rng: np.random.Generator, size: int, cells: float) -> Image:
    """Distance (cells) beyond a slightly ragged circular edge that crosses the canvas; positive outside."""
    radius = cells * math.exp(rng.uniform(math.log(6), math.log(80)))
    angle, inset = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.45) * size
    y, x = _grid(size)
    away = radius + size / 2 - inset
    centre_y, centre_x = size / 2 - away * math.sin(angle), size / 2 - away * math.cos(angle)
    if rng.random() < 0.6:  # the field lies within the circle: what is beyond it lies in the direction of the angle
        away = radius - size / 2 + inset
        centre_y, centre_x = size / 2 - away * math.sin(angle), size / 2 - away * math.cos(angle)
        distance = np.hypot(y - centre_y, x - centre_x) - radius
    else:
        distance = radius - np.hypot(y - centre_y, x - centre_x)
    ragged = rng.uniform(0, 0.15) * cells * _field(rng, size, cells)
    return np.asarray(distance + ragged, dtype=np.float32)


def _step(beyond: Image, softness: float) -> Image:
    """0 where negative, 1 where positive."""
    return np.asarray(0.5 + 0.5 * np.tanh(beyond / (2 * softness)), dtype=np.float32)


def _add_film(rng: np.random.Generator, dirt: Dirt, cells: float) -> None:
    """Carbon, or gold: a level, its own grain, a rim."""
    beyond = _edge(rng, len(dirt.phase), cells)
    gold = rng.random() < 0.3
    film = _step(beyond, rng.uniform(0.2, 1.5))
    level = math.exp(rng.uniform(math.log(4), math.log(40))) if gold else math.exp(rng.uniform(math.log(0.3), math.log(8)))
    dirt.phase += (film * level * rng.uniform(0.3, 1)).astype(np.float32)
    dirt.absorption += (film * level * rng.uniform(0.1, 0.6)).astype(np.float32)
    dirt.grain += (film * (rng.uniform(1, 8) if gold else rng.uniform(0.0, 3))).astype(np.float32)
    if rng.random() < 0.3:  # thicker ice along it
        rim = np.exp(-np.clip(-beyond, 0, None) / (cells * rng.uniform(0.3, 2)))
        dirt.absorption += (rim * level * rng.uniform(0, 0.3)).astype(np.float32)
    dirt.mask |= beyond > 0


def _add_beam_edge(rng: np.random.Generator, dirt: Dirt, cells: float) -> None:
    """Dark beyond the beam, a few fringes inside."""
    beyond = _edge(rng, len(dirt.phase), cells)
    soft = rng.uniform(0.3, 3)
    inside = np.clip(-beyond, 0, None)
    scale = rng.uniform(1, 6)
    fringes = rng.uniform(0, 0.12) * np.cos((inside / scale) ** 2) * np.exp(-inside / (4 * scale))
    dirt.beam *= (_step(-beyond, soft) * (1 + np.where(beyond < 0, fringes, 0))).clip(0.01).astype(np.float32)
    dirt.mask |= beyond > 0


def _add_hole(rng: np.random.Generator, dirt: Dirt, cells: float) -> None:
    """Bright: broken ice, or ice much thinner than around it."""
    beyond = _edge(rng, len(dirt.phase), cells)
    thin = _step(beyond, rng.uniform(0.3, 2))
    dirt.absorption -= (thin * math.exp(rng.uniform(math.log(1), math.log(15)))).astype(np.float32)
    dirt.grain -= (thin * rng.uniform(0, 0.8)).astype(np.float32)
    dirt.mask |= beyond > 0


def _add_filaments(rng: np.random.Generator, dirt: Dirt, cells: float) -> None:
    """Strands of nucleic acid or other thin lines; particles may lie on them."""
    size = len(dirt.phase)
    y, x = _grid(size)
    for _ in range(int(rng.integers(1, 4))):
        turn, bend = rng.uniform(0, math.pi), rng.normal(0, 0.3) / size
        dy, dx = y - np.float32(rng.uniform(0, size)), x - np.float32(rng.uniform(0, size))
        along, across = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
        width = cells * rng.uniform(0.05, 0.12)
        line = np.exp(-((across - bend * along**2) ** 2) / (2 * width**2))
        dirt.phase += (rng.uniform(0.3, 1) * line).astype(np.float32)
