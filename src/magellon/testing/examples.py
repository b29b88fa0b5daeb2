"""Small inputs of every category with a known answer, made in a moment, for tests of backends.

For realistic ones use `magellon.simulation`; these are made to be quick and to have something to find.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from magellon.algorithms.optics import CtfModel, ctf_rfft
from magellon.contracts import (
    ClassificationInput,
    ClassificationItem,
    Ctf,
    CtfInput,
    DenoisingInput,
    ExtractionInput,
    FftInput,
    GridImage,
    HoleInput,
    Micrograph,
    MotionInput,
    Movie,
    Particles,
    PickingInput,
    Picks,
    Record,
    SquareInput,
)
from magellon.errors import BadInput
from magellon.io.mrc import write_mrc
from magellon.io.star import Value, write_star

PIXEL_SIZE = 2.0
"""Å/px of every example."""
SIDE = 384
DIAMETER = 80.0
"""Of the discs, Å."""
CENTRES = ((80, 70), (90, 300), (200, 190), (310, 90), (300, 310))
"""(y, x) of the discs in pixels."""
CTF = Ctf(defocus_u=15500.0, defocus_v=15000.0, defocus_angle=30.0, score=0.9, resolution=5.0)
"""Of the example for CTF estimation."""
GRID_PITCH, GRID_ANGLE = 64.0, 20.0
"""Of the squares and holes of the examples, pixels and degrees from +x toward +y."""
GRID_SHARE = {"square_detection": 0.7, "hole_detection": 0.5}
"""Side of the squares and diameter of the holes, relative to the pitch."""
PARTICLE_SHAPES = (((0, 0), (0, 0), (7, 0)), ((-4, 4), (4, 4), (0, -6)), ((-6, -3), (-2, 2), (2, 2), (6, -3)))
"""Each shape by the places of its blobs, (x, y) in pixels from the middle of the box."""
DRIFT = (0.8, -0.5)
"""(x, y) in pixels by which the content of the example movie moves from frame to frame."""


def make_example(category: str, folder: Path) -> Record:
    """An input of a category, its files in `folder`.

    Raises:
        BadInput: there is no example of this category.
    """
    if category not in _MAKERS:
        raise BadInput(f"there is no example of {category}; there are examples of {', '.join(_MAKERS)}")
    return _MAKERS[category](folder)


def make_disc_micrograph(folder: Path) -> Micrograph:
    """Dark discs of `DIAMETER` at `CENTRES`, in noise."""
    image = _noise(1) - 1.5 * _draw_discs((0.0, 0.0))
    return _write_micrograph(folder / "discs.mrc", image)


def make_ringed_micrograph(folder: Path) -> Micrograph:
    """Noise seen through the contrast transfer function of `CTF`: Thon rings and nothing else."""
    model = CtfModel(CTF.defocus_u, CTF.defocus_v, CTF.defocus_angle)
    spectrum = torch.fft.rfft2(torch.from_numpy(_noise(2, 512)))
    rings = torch.fft.irfft2(spectrum * ctf_rfft(model, (512, 512), PIXEL_SIZE), s=(512, 512))
    return _write_micrograph(folder / "rings.mrc", rings.numpy() + 0.3 * _noise(3, 512))


def make_drifting_movie(folder: Path) -> Movie:
    """Twelve counting frames of the discs, drifting by `DRIFT` per frame."""
    rng = np.random.default_rng(4)
    frames = [rng.poisson(4 - 2 * _draw_discs((DRIFT[0] * index, DRIFT[1] * index))) for index in range(12)]
    path = folder / "drift.mrcs"
    folder.mkdir(parents=True, exist_ok=True)
    write_mrc(path, np.stack(frames).astype(np.float32), PIXEL_SIZE)
    return Movie(name="drift", path=path, pixel_size=PIXEL_SIZE, exposure_per_frame=1.0)


def make_shape_particles(folder: Path, each: int = 40, side: int = 32, noise: float = 1.0) -> Particles:
    """Boxes of `PARTICLE_SHAPES`, `each` of every shape in turn, at random angles, a little off the middle, without CTF.

    `rlnAnglePsi`, `rlnOriginX/YAngst` and `rlnClassNumber` in `truth.star` are the truth; `particles.star` has none of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    count = each * len(PARTICLE_SHAPES)
    psi, shift = rng.uniform(-180, 180, count), rng.normal(0, 0.8, (count, 2))
    shape = np.arange(count) % len(PARTICLE_SHAPES)
    cos, sin = np.cos(np.radians(psi)), np.sin(np.radians(psi))
    y, x = np.mgrid[:side, :side].astype(np.float32) - side // 2
    stack = rng.normal(0, noise, (count, side, side))
    for image, kind, c, s, (dx, dy) in zip(stack, shape, cos, sin, shift, strict=True):
        for px, py in PARTICLE_SHAPES[kind]:
            image += 1.5 * np.exp(-((x - px * c - py * s - dx) ** 2 + (y + px * s - py * c - dy) ** 2) / 8)
    write_mrc(folder / "shapes.mrcs", stack.astype(np.float32), PIXEL_SIZE)
    optics: dict[str, list[Value]] = {
        "rlnOpticsGroupName": ["opticsGroup1"], "rlnOpticsGroup": [1], "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7], "rlnAmplitudeContrast": [0.1], "rlnMicrographOriginalPixelSize": [PIXEL_SIZE],
        "rlnImagePixelSize": [PIXEL_SIZE], "rlnImageSize": [side], "rlnImageDimensionality": [2],
    }  # fmt: skip
    known: dict[str, list[Value]] = {
        "rlnCoordinateX": (100.0 + 60 * np.arange(count)).tolist(), "rlnCoordinateY": [100.0] * count,
        "rlnImageName": [f"{number:06d}@shapes.mrcs" for number in range(1, count + 1)],
        "rlnMicrographName": ["shapes.mrc"] * count, "rlnOpticsGroup": [1] * count,
    }  # fmt: skip
    truth: dict[str, list[Value]] = {
        "rlnAnglePsi": psi.tolist(), "rlnClassNumber": list(shape + 1),
        "rlnOriginXAngst": (-shift[:, 0] * PIXEL_SIZE).tolist(), "rlnOriginYAngst": (-shift[:, 1] * PIXEL_SIZE).tolist(),
    }  # fmt: skip
    write_star(folder / "particles.star", {"optics": optics, "particles": known})
    write_star(folder / "truth.star", {"optics": optics, "particles": known | truth})
    return Particles(star=folder / "particles.star", stack=folder / "shapes.mrcs", count=count, box=side, pixel_size=PIXEL_SIZE)


def make_disc_picks(folder: Path) -> Picks:
    """The true centres of the discs as picks."""
    path = folder / "discs_autopick.star"
    folder.mkdir(parents=True, exist_ok=True)
    y, x = (list(map(float, axis)) for axis in zip(*CENTRES, strict=True))
    write_star(path, {"": {"rlnCoordinateX": x, "rlnCoordinateY": y, "rlnAutopickFigureOfMerit": [1.0] * len(x)}})
    return Picks(path=path, count=len(CENTRES), diameter=DIAMETER)


def make_grid_image(folder: Path, category: str) -> GridImage:
    """Bright squares or round holes on a lattice through the middle of the picture, in noise."""
    turn = np.radians(GRID_ANGLE)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) - SIDE / 2
    across = [x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)]
    u, v = (each - GRID_PITCH * np.rint(each / GRID_PITCH) for each in across)
    squares = category == "square_detection"
    reach = np.maximum(np.abs(u), np.abs(v)) if squares else np.hypot(u, v)
    inside = np.clip(GRID_SHARE[category] * GRID_PITCH / 2 - reach + 0.5, 0, 1)
    dark = 5.0 if squares else 60.0
    image = dark + (100 - dark) * inside + (1 + 4 * inside) * _noise(5)
    path = folder / f"{category.split('_', maxsplit=1)[0]}s.mrc"
    folder.mkdir(parents=True, exist_ok=True)
    write_mrc(path, image.astype(np.float32), PIXEL_SIZE)
    return GridImage(name=path.stem, path=path, pixel_size=PIXEL_SIZE)


_MAKERS: Mapping[str, Callable[[Path], Record]] = {
    "square_detection": lambda folder: SquareInput(image=make_grid_image(folder, "square_detection")),
    "hole_detection": lambda folder: HoleInput(image=make_grid_image(folder, "hole_detection")),
    "motion_correction": lambda folder: MotionInput(movie=make_drifting_movie(folder)),
    "ctf_estimation": lambda folder: CtfInput(micrograph=make_ringed_micrograph(folder)),
    "fft": lambda folder: FftInput(micrograph=make_ringed_micrograph(folder)),
    "micrograph_denoising": lambda folder: DenoisingInput(micrograph=make_disc_micrograph(folder)),
    "particle_picking": lambda folder: PickingInput(micrograph=make_disc_micrograph(folder)),
    "two_d_classification": lambda folder: ClassificationInput(
        items=(ClassificationItem(particles=make_shape_particles(folder)),)
    ),
    "particle_extraction": lambda folder: ExtractionInput(
        micrograph=make_disc_micrograph(folder), picks=make_disc_picks(folder), ctf=CTF
    ),
}


def _noise(seed: int, side: int = SIDE) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, (side, side)).astype(np.float32)


def _draw_discs(offset: tuple[float, float]) -> NDArray[np.float32]:
    """1 inside the discs moved by (x, y) pixels, 0 outside."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    radius = DIAMETER / PIXEL_SIZE / 2
    inside = [(y - cy - offset[1]) ** 2 + (x - cx - offset[0]) ** 2 < radius**2 for cy, cx in CENTRES]
    drawn: NDArray[np.float32] = np.any(inside, axis=0).astype(np.float32)
    return drawn


def _write_micrograph(path: Path, image: NDArray[np.float32]) -> Micrograph:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mrc(path, image.astype(np.float32), PIXEL_SIZE)
    return Micrograph(name=path.stem, path=path, pixel_size=PIXEL_SIZE, shape=(image.shape[0], image.shape[1]))
