"""Fringes along the beam's edge: gone, with everything else where it was; and what is no beam's edge stays as it is."""

import math

import numpy as np
import pytest
import torch

from magellon.algorithms.picking.fringes import even_beam, fit_circle

SIDE = 256
Y, X = torch.arange(SIDE, dtype=torch.float64)[:, None], torch.arange(SIDE, dtype=torch.float64)[None, :]


def draw_inside(turn: float, radius: float, long: float = 1.0) -> torch.Tensor:
    """(SIDE, SIDE) cells from an edge 60 cells beyond the middle, above 0 inside; of an ellipse if `long` is not 1."""
    reach = radius - 60
    centre = SIDE / 2 - reach * math.sin(turn), SIDE / 2 - reach * math.cos(turn)
    return radius - torch.hypot((Y - centre[0]) * long, X - centre[1])


def light(inside: torch.Tensor) -> torch.Tensor:
    """Brightness of a beam with fringes, 12 cells wide and finer farther in."""
    fringes = 0.15 * torch.cos(math.pi * (inside / 8) ** 2 / 4 - 0.75 * math.pi) * torch.exp(-inside.clamp(min=0) / 28)
    return 0.02 + 0.98 * torch.sigmoid(inside / 2) * (1 + torch.where(inside > 0, fringes, 0.0))


def expose(seed: int, beam: torch.Tensor, specimen: torch.Tensor | float = 0.0) -> torch.Tensor:
    """A picture of counts, of which the ice has 400 with their shot noise, less a share by what is in it."""
    expected = 400 * beam * (1 - torch.as_tensor(specimen))
    noise = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (expected + expected.sqrt() * noise).float()


def draw_particles(places: torch.Tensor) -> torch.Tensor:
    return sum((0.15 * torch.exp(-((Y - y) ** 2 + (X - x) ** 2) / 40) for y, x in places.tolist()), torch.zeros(SIDE, SIDE))


@pytest.mark.parametrize(("turn", "radius"), [(0.0, 300.0), (0.7, 800.0), (2.0, 1e5), (-2.4, 150.0)])
@pytest.mark.parametrize("gain", [(1.0, 0.0), (0.01, -3.0)])
def test_fringes_go_and_particles_stay(turn: float, radius: float, gain: tuple[float, float]) -> None:
    """In any unit from any zero: what is left is the picture without a beam, but for noise."""
    inside = draw_inside(turn, radius)
    line = torch.arange(20.0, SIDE, 43.0)
    specimen = draw_particles(torch.cartesian_prod(line, line))
    image = expose(1, light(inside), specimen)
    even = (even_beam(gain[0] * image + gain[1]) - gain[1]) / gain[0]
    lit = inside > 3
    expected = expose(1, torch.ones(SIDE, SIDE), specimen)
    within = lit & (inside < 60)
    fringes = (image - expected)[within].square().mean().sqrt()
    left = (even - expected)[within].square().mean().sqrt()
    assert float(fringes) > 20
    assert float(left) < 7
    # Beyond the edge there is nothing, and nothing comes.
    assert torch.allclose(even[inside < -12], image[inside < -12], atol=0.1)


@pytest.mark.parametrize("long", [1.0, 1.03])
def test_a_crystal_on_the_edge_and_a_beam_that_is_not_quite_round(long: float) -> None:
    inside = draw_inside(0.4, 500.0, long)
    specimen = 0.9 * torch.sigmoid(14 - torch.hypot(Y - 150, X - 180))
    even = even_beam(expose(2, light(inside), specimen))
    within = (inside > 3) & (inside < 60) & (specimen < 0.001)
    expected = expose(2, torch.ones(SIDE, SIDE), specimen)
    assert float((even - expected)[within].square().mean().sqrt()) < 8


def test_what_is_no_edge_of_the_beam_stays_as_it_is() -> None:
    ice = torch.ones(SIDE, SIDE)
    crystal = 0.9 * torch.sigmoid(50 - torch.hypot(Y - 20, X - 120))
    small = 0.9 * torch.sigmoid(20 - torch.hypot(Y - 100, X - 120))
    film = 0.3 * torch.sigmoid(-draw_inside(0.3, 700.0))
    for number, specimen in enumerate((torch.zeros(SIDE, SIDE), crystal, small, film)):
        image = expose(number, ice, specimen)
        assert even_beam(image) is image
    dark = torch.zeros(SIDE, SIDE)
    assert even_beam(dark) is dark
    steps = torch.where(draw_inside(0.0, 1e5) > 0, 1.0, 0.0)
    assert bool(torch.isfinite(even_beam(steps)).all())


@pytest.mark.parametrize("radius", [40.0, 1000.0, math.inf])
def test_a_short_arc_tells_its_circle(radius: float) -> None:
    rng = np.random.default_rng(3)
    along = np.linspace(-60, 60, 200) if radius > 100 else np.linspace(-30, 30, 200)
    sagitta = 0 * along if math.isinf(radius) else radius - np.sqrt(radius**2 - along**2)
    points = np.stack([100 + along, 30 + sagitta], axis=1) + rng.normal(0, 0.05, (200, 2))
    circle = fit_circle(points)
    assert circle.radius == pytest.approx(radius, rel=0.1) if radius < math.inf else circle.radius > 5000
    away = circle.distance(np.array([100.0, 100.0]), np.array([20.0, 45.0]))
    assert np.abs(away) == pytest.approx([10, 15], abs=0.1)
    assert away[0] * away[1] < 0
