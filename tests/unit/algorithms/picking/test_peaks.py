import numpy as np
import pytest
import torch

from magellon.algorithms.picking.peaks import climb_to_maxima, find_maxima, refine_maxima, suppress_neighbours


def test_finds_a_peak_between_cells() -> None:
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(40.0), indexing="ij")
    scores = torch.exp(-((y - 12.3) ** 2 + (x - 20.8) ** 2) / 18)
    cells, values = find_maxima(scores, torch.ones_like(scores, dtype=torch.bool), 3)
    assert cells.tolist() == [[12, 21]]
    assert values.tolist() == [scores[12, 21].item()]
    np.testing.assert_allclose(refine_maxima(scores, cells).numpy(), [[12.3, 20.8]], atol=0.03)


def test_maxima_outside_the_usable_part_do_not_count() -> None:
    scores = torch.zeros(16, 16)
    scores[3, 3], scores[12, 12] = 2.0, 1.0
    usable = torch.zeros(16, 16, dtype=torch.bool)
    usable[8:, 8:] = True
    cells, _ = find_maxima(scores, usable, 2)
    assert [12, 12] in cells.tolist()
    assert [3, 3] not in cells.tolist()


def test_suppression_keeps_the_better_and_frees_what_only_a_lesser_one_blocked() -> None:
    positions = torch.tensor([[0, 0], [3, 0], [6, 0], [20, 20]])
    assert suppress_neighbours(positions, 4.0).tolist() == [0, 2, 3]


@pytest.mark.slow
def test_suppression_equals_the_greedy_loop() -> None:
    rng = np.random.default_rng(3)
    positions = rng.integers(0, 200, (3000, 2))
    expected: list[int] = []
    for index, position in enumerate(positions):
        if all(((position - positions[other]) ** 2).sum() >= 64 for other in expected):
            expected.append(index)
    assert suppress_neighbours(torch.from_numpy(positions), 8.0).tolist() == expected


def test_no_positions() -> None:
    assert suppress_neighbours(torch.zeros(0, 2), 4.0).tolist() == []


def test_climbs_to_the_top_of_its_own_hill_within_reach() -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    scores = torch.exp(-((y - 12.3) ** 2 + (x - 20.8) ** 2) / 18) + torch.exp(-((y - 25) ** 2 + (x - 40.2) ** 2) / 18)
    positions = torch.tensor([[14.4, 18.0], [23.0, 42.6], [12.0, 25.9], [0.0, 0.0]], dtype=torch.float64)
    climbed = climb_to_maxima(scores, positions, 4.0)
    np.testing.assert_allclose(climbed[:2].numpy(), [[12.3, 20.8], [25.0, 40.2]], atol=0.05)
    assert climbed[2:].tolist() == positions[2:].tolist()
