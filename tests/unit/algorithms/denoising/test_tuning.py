"""Learning from halves: errors fall on halves kept aside, nothing gets worse, the same numbers each time."""

import pytest
import torch

from magellon.algorithms.denoising.learning import spectral_error
from magellon.algorithms.denoising.network import STRIDE, make_network
from magellon.algorithms.denoising.tuning import Pair, Tuning, measure_error, prepare_pair, split_pairs, tune_network
from magellon.errors import BadInput


def make_pair(seed: int, side: int = 64) -> Pair:
    """Two halves that share a coarse pattern, in noise of one."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 1, side // 8, side // 8, generator=generator)
    common = 8 * torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)[0, 0]
    first, second = (common + torch.randn(side, side, generator=generator) for _ in range(2))
    return first, second


@pytest.mark.slow
def test_it_learns_and_is_judged_by_what_it_has_not_seen() -> None:
    pairs, start = [make_pair(seed) for seed in range(5)], make_network(1)
    tuned = tune_network(start, pairs, Tuning(steps=30, rate=4e-3))
    assert tuned.improved
    assert tuned.after < 0.9 * tuned.before
    assert measure_error(tuned.network, [pairs[3]]) == tuned.after, "the fourth is held out"


def test_the_same_seed_gives_the_same_network() -> None:
    pairs, start = [make_pair(seed) for seed in range(2)], make_network(1)
    first, again, other = (tune_network(start, pairs, Tuning(steps=2, rate=1e-3, seed=seed)).after for seed in (4, 4, 5))
    assert first == again != other


def test_what_is_no_better_is_not_taken() -> None:
    pairs, start = [make_pair(seed) for seed in range(2)], make_network(1)
    tuned = tune_network(start, pairs, Tuning(steps=2, rate=10.0))
    assert not tuned.improved
    assert tuned.network is start


def test_a_quarter_is_held_out() -> None:
    assert split_pairs(2) == ([0], [1])
    assert split_pairs(9) == ([0, 1, 2, 4, 5, 6, 8], [3, 7])
    with pytest.raises(BadInput, match="1 pairs"):
        split_pairs(1)


def test_halves_come_at_the_scale_of_the_network_in_units_of_their_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (100 + 9 * torch.randn(700, 820, generator=generator) for _ in range(2))
    pair = prepare_pair(first, second, 1.6)
    for half in pair:
        assert half.shape[0] == pytest.approx(700 * 1.6 / 4, abs=STRIDE)
        assert half.shape[1] == pytest.approx(820 * 1.6 / 4, abs=STRIDE)
        assert not half.shape[0] % STRIDE
        assert float(half.std()) == pytest.approx(1, abs=0.05)
    assert abs(float(torch.corrcoef(torch.stack([half.flatten() for half in pair]))[0, 1])) < 0.05


@pytest.mark.parametrize(
    ("second", "pixel_size", "named"),
    [((600, 500), 1.0, "600, 500"), ((500, 500), 0.3, "too small"), ((500, 500), 90.0, "90")],
)
def test_halves_that_cannot_be_learnt_from(second: tuple[int, int], pixel_size: float, named: str) -> None:
    with pytest.raises(BadInput, match=named):
        prepare_pair(torch.randn(500, 500), torch.randn(*second), pixel_size)


def test_the_mean_of_the_targets_is_the_best_prediction() -> None:
    targets = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(2)) + 3
    errors = [
        sum(float(spectral_error((targets.mean(dim=0) + shift)[None], target[None])) for target in targets)
        for shift in (0.0, 0.3, -0.3)
    ]
    assert errors[0] == min(errors)
