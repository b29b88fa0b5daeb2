"""Lines: a piece of a fringe is told from a particle, also from one on the fringe."""

import math

import pytest
import torch

from magellon.algorithms.picking.lines import AT_ONCE, find_on_lines

SIDE = 256
EVERYWHERE = torch.ones(SIDE, SIDE, dtype=torch.bool)


def draw_noise(seed: int) -> torch.Tensor:
    return torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def add_discs(image: torch.Tensor, places: torch.Tensor, height: float, size: tuple[float, float] = (14, 14)) -> None:
    """Dark spots; `size` in cells along (y, x)."""
    y, x = torch.arange(SIDE)[:, None], torch.arange(SIDE)[None, :]
    for row, column in places.tolist():
        radius = torch.sqrt(((y - row) / size[0]) ** 2 + ((x - column) / size[1]) ** 2)
        image -= height * (1 - (2 * radius) ** 4).clamp(min=0)


def add_fringes(image: torch.Tensor, height: float, turn: float) -> torch.Tensor:
    """Dark and bright bands about a far centre, 12 cells apart; places (y, x) on the dark band through the middle."""
    centre = SIDE / 2 - 400 * torch.tensor([math.sin(turn), math.cos(turn)])
    y, x = torch.arange(SIDE)[:, None], torch.arange(SIDE)[None, :]
    radius = torch.hypot(y - centre[0], x - centre[1]) - 400
    image -= height * torch.cos(2 * math.pi * radius / 12) * torch.exp(-((radius / 20) ** 2))
    angle = turn + torch.linspace(-0.2, 0.2, 9, dtype=torch.float64)
    return centre + 400 * torch.stack([torch.sin(angle), torch.cos(angle)], dim=-1)


@pytest.mark.parametrize("turn", [0.0, 0.3, 1.2, 2.5])
def test_pieces_of_a_fringe_are_on_a_line(turn: float) -> None:
    """Most of them: noise makes gaps in a line, and particles of it. What is bright is on none."""
    found, across = [], torch.tensor([math.sin(turn), math.cos(turn)])
    for seed in range(5):
        image = draw_noise(seed)
        places = add_fringes(image, 1.5, turn)
        found.append(find_on_lines(image, EVERYWHERE, places))
        assert not find_on_lines(image, EVERYWHERE, places + 6 * across).any()
    assert float(torch.cat(found).double().mean()) > 0.7


def test_a_particle_on_a_fringe_is_none_of_it() -> None:
    for seed in range(5):
        image = draw_noise(seed)
        places = add_fringes(image, 1.5, 0.3)
        add_discs(image, places[4:5], 1.5, (11, 11))
        assert not find_on_lines(image, EVERYWHERE, places[4:5]).any()


@pytest.mark.parametrize(("size", "apart"), [((14.0, 14.0), 40.0), ((15.0, 15.0), 16.0), ((16.0, 4.0), 30.0)])
def test_particles_are_no_lines(size: tuple[float, float], apart: float) -> None:
    """Round ones, also where they touch in rows, and rods."""
    image = draw_noise(3)
    line = torch.arange(30.0, 226.0, apart, dtype=torch.float64)
    places = torch.cartesian_prod(line, line)
    add_discs(image, places, 1.5, size)
    assert not find_on_lines(image, EVERYWHERE, places).any()


def test_noise_holds_no_lines_and_what_is_not_usable_sets_no_scale() -> None:
    image = draw_noise(4)
    places = torch.rand(2 * AT_ONCE + 3, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * SIDE
    assert int(find_on_lines(image, EVERYWHERE, places).sum()) == 0
    usable = EVERYWHERE.clone()
    usable[:, : SIDE * 2 // 3] = False
    assert int(find_on_lines(image * usable, usable, places).sum()) == 0
    assert len(find_on_lines(image, EVERYWHERE, places[:0])) == 0
    assert not find_on_lines(torch.zeros(SIDE, SIDE), EVERYWHERE, places[:3]).any()
