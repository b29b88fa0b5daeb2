"""A detector that was given a picture of the other magnification says that what it found has the wrong shape."""

import numpy as np
import pytest
import torch

from magellon.algorithms.targets.holes import FoundHoles
from magellon.algorithms.targets.shape import doubt_holes, doubt_squares
from magellon.algorithms.targets.squares import FoundSquares

PITCH, HALF = 60, 20
PLACES = np.array([[x, y] for x in range(40, 400, PITCH) for y in range(40, 400, PITCH)], dtype=np.float32)


def draw(power: float, turn: float, seed: int = 1) -> torch.Tensor:
    """Bright things on a lattice: round for `power` 2, square for a high one; some in thick ice, noise over all."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:400, :400].astype(np.float32)
    image = rng.normal(0, 0.1, (400, 400))
    for px, py in PLACES:
        u = (x - px) * np.cos(turn) + (y - py) * np.sin(turn)
        v = (y - py) * np.cos(turn) - (x - px) * np.sin(turn)
        image += rng.choice([1.0, 0.4]) * ((np.abs(u) ** power + np.abs(v) ** power) < HALF**power)
    return torch.from_numpy(image.astype(np.float32))


def found(count: int) -> dict[str, object]:
    ones = np.ones(count, np.float32)
    return {
        "x": PLACES[:count, 0], "y": PLACES[:count, 1], "score": ones, "kinds": np.ones((count, 1), np.float32),
        "kind": ("good",) * count, "brightness": ones, "good": ones > 0, "lattice": None,
    }  # fmt: skip


def find_squares(count: int, angle: float) -> FoundSquares:
    ones = np.ones(count, np.float32)
    corners = np.zeros((count, 4, 2), np.float32)
    return FoundSquares(**found(count), side=2 * HALF * ones, angle=angle * ones, corners=corners, area=ones)  # type: ignore[arg-type]


def find_holes(count: int) -> FoundHoles:
    ones = np.ones(count, np.float32)
    index = np.zeros((count, 2), np.int64)
    more = {"radius": 1.06 * HALF * ones, "ice": ones, "index": index, "placed": ones > 0, "weak": ones < 0}
    return FoundHoles(**found(count), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_round_things_are_no_squares(angle: float) -> None:
    assert "look like holes" in (doubt_squares(draw(2, 0), find_squares(36, angle)) or "")
    assert doubt_squares(draw(12, np.radians(angle)), find_squares(36, angle)) is None


@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_square_things_are_no_holes(angle: float) -> None:
    assert "look like squares" in (doubt_holes(draw(12, np.radians(angle)), find_holes(36)) or "")
    assert doubt_holes(draw(2, 0), find_holes(36)) is None


def test_what_is_not_brighter_than_its_surroundings_is_no_square() -> None:
    image = 0.02 * draw(12, 0) + torch.linspace(0, 1, 400)
    assert "hardly brighter" in (doubt_squares(image, find_squares(36, 0)) or "")


@pytest.mark.parametrize("count", [0, 2])
def test_few_are_not_judged(count: int) -> None:
    assert doubt_squares(draw(2, 0), find_squares(count, 0)) is None
    assert doubt_holes(draw(12, 0), find_holes(count)) is None
