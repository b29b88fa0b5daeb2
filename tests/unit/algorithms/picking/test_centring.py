"""Centres of picks: the network's doubt, and the filter that knows better where it doubts."""

import pytest
import torch

from magellon.algorithms.picking.centring import TOO_DOUBTFUL, measure_doubt, recentre

POSITIONS = torch.tensor([[20.0, 24.0], [40.0, 24.0]], dtype=torch.float64)
AWAY = torch.tensor([1.5, -1.0], dtype=torch.float64)


def peaks_at(centres: torch.Tensor, height: float = 8.0, width: float = 3.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(56.0), indexing="ij")
    bells = [torch.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * width**2)) for cy, cx in centres.tolist()]
    return height * torch.stack(bells).sum(0)


def output_saying(offsets: torch.Tensor) -> torch.Tensor:
    """Everywhere as likely a centre, with these offsets (2, 8, 8)."""
    return torch.cat([torch.zeros(1, 8, 8), offsets, torch.zeros(1, 8, 8)])


def test_cells_that_agree_leave_no_doubt() -> None:
    cells = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"))
    at = torch.tensor([[4.3, 3.6]])
    doubt = measure_doubt(output_saying(at.reshape(2, 1, 1) - cells), (at.double() + 0.5) * 2 - 0.5)
    assert doubt.item() == pytest.approx(0, abs=1e-9)


def test_doubt_is_the_variance_of_what_the_cells_say() -> None:
    """No cell knows a way, each says itself: of -1, 0 and 1 the variance is 2 / 3, along each axis; also in a corner."""
    places = torch.tensor([[8.5, 8.5], [0.5, 0.5]], dtype=torch.float64)
    doubt = measure_doubt(output_saying(torch.zeros(2, 8, 8)), places)
    assert doubt[0].item() == pytest.approx(4 / 3)
    assert 0 < doubt[1] < doubt[0]


def test_where_the_network_doubts_the_filter_says_the_centre() -> None:
    answer = peaks_at(POSITIONS + AWAY)
    found = recentre(answer, POSITIONS, torch.full((2,), 0.12, dtype=torch.float64), 0.5)
    assert ((found - POSITIONS - AWAY).norm(dim=1) < 0.5 * AWAY.norm()).all()


def test_where_the_network_is_sure_the_centre_stays() -> None:
    found = recentre(peaks_at(POSITIONS + AWAY), POSITIONS, torch.zeros(2, dtype=torch.float64), 0.5)
    assert ((found - POSITIONS).norm(dim=1) < 0.1).all()


def test_a_centre_between_cells_is_found_between_cells() -> None:
    centres = POSITIONS + torch.tensor([0.3, -0.35], dtype=torch.float64)
    found = recentre(peaks_at(centres, height=60.0), POSITIONS, torch.full((2,), 0.12, dtype=torch.float64), 0.5)
    assert ((found - centres).norm(dim=1) < 0.1).all()


def test_the_middle_of_long_particles_is_left_to_the_network() -> None:
    doubt = torch.full((2,), 1.1 * TOO_DOUBTFUL, dtype=torch.float64)
    assert torch.equal(recentre(peaks_at(POSITIONS + AWAY), POSITIONS, doubt, 0.5), POSITIONS)


def test_no_two_picks_come_nearer_than_asked() -> None:
    near = torch.tensor([[20.0, 20.0], [20.0, 28.4], [50.0, 30.0]], dtype=torch.float64)
    middle = torch.tensor([[20.0, 24.2], [50.0, 31.0]], dtype=torch.float64)
    found = recentre(peaks_at(middle, height=30.0, width=4.0), near, torch.full((3,), 0.12, dtype=torch.float64), 0.5)
    assert (found[0] - found[1]).norm() >= 8 - 1e-9
    assert (found[2] - near[2]).norm() > 0.5


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one_are_answered(count: int) -> None:
    found = recentre(peaks_at(POSITIONS + AWAY), POSITIONS[:count], torch.full((count,), 0.12, dtype=torch.float64), 0.5)
    assert found.shape == (count, 2)
