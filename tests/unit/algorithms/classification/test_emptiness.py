"""Empty boxes are told from the particles of their class, however many of them it drew."""

import torch

from magellon.algorithms.classification.emptiness import find_empty, mean_by_class, weigh_losses


def draw(count: int, mean: float, spread: float, seed: int) -> torch.Tensor:
    drawn: torch.Tensor = mean + spread * torch.randn(count, generator=torch.Generator().manual_seed(seed))
    return drawn


def test_empty_boxes_are_counted_and_do_not_hide_what_particles_reach() -> None:
    sizes = ((120, 0), (120, 12), (120, 50), (120, 110))
    gain = torch.cat([torch.cat([draw(n, 14, 5, 1), draw(m, 5.5, 2.3, 2)]) for n, m in sizes])
    klass = torch.repeat_interleave(torch.arange(4), torch.tensor([n + m for n, m in sizes]))
    nothing = torch.cat([torch.arange(n + m) >= n for n, m in sizes])
    found = find_empty(gain, klass, 4)
    assert found.share[0] < 0.12
    assert abs(float(found.share[2]) - 50 / 170) < 0.1
    assert abs(float(found.share[3]) - 110 / 230) < 0.12
    assert (found.typical - 14).abs().max() < 1.5
    assert found.chance[nothing].gt(0.5).float().mean() > 0.7
    assert found.chance[~nothing].lt(0.5).float().mean() > 0.85


def test_a_class_of_noise_reaches_no_more_than_noise() -> None:
    for mean in (5.0, 5.5, 6.5):
        found = find_empty(draw(300, mean, 2.0, 3), torch.zeros(300, dtype=torch.long), 2)
        assert found.typical.max() < 8.5
        assert found.typical[1] == 5.5  # The class without any particle.


def test_strong_particles_are_not_empty_and_far_less_than_noise_is() -> None:
    gain = torch.cat([draw(100, 60, 10, 4), torch.tensor([-20.0, 2.0])])
    chance = find_empty(gain, torch.zeros(102, dtype=torch.long), 1).chance
    assert chance[:100].max() < 0.01
    assert chance[100:].min() > 0.9


def test_means_are_weighted_and_zero_where_nothing_weighs() -> None:
    values, klass = torch.tensor([1.0, 3.0, 5.0, 7.0]), torch.tensor([2, 0, 2, 0])
    assert mean_by_class(values, klass, 4).tolist() == [5.0, 0.0, 3.0, 0.0]
    assert mean_by_class(values, klass, 4, torch.tensor([1.0, 1.0, 3.0, 0.0])).tolist() == [3.0, 0.0, 4.0, 0.0]


def test_no_more_particles_are_set_aside_than_may_be_lost() -> None:
    """Of boxes that are empty with their chance, as many are lost as was allowed, and those most likely empty go."""
    generator = torch.Generator().manual_seed(8)
    chance = torch.rand(20000, generator=generator)
    empty = torch.rand(20000, generator=generator) < chance
    candidates = torch.arange(20000) < 15000
    for loss in (0.01, 0.05):
        weighted = weigh_losses(chance, candidates, loss)
        aside = candidates & (weighted >= 0.5)
        assert abs(float((aside & ~empty).sum() / (candidates & ~empty).sum()) - loss) < 0.003
        assert chance[aside].min() > chance[candidates & ~aside].max()
        assert weighted[chance.argsort()].diff().min() > -1e-6


def test_even_odds_are_enough_where_little_is_lost() -> None:
    chance = torch.cat([torch.full((900,), 0.001), torch.full((100,), 0.99)])
    every = torch.ones(1000, dtype=torch.bool)
    assert torch.equal(weigh_losses(chance, every, 0.01), chance)
    assert torch.equal(weigh_losses(chance, ~every, 0.01), chance)


def test_of_boxes_alike_none_is_lost_alone() -> None:
    """Those of one chance go together or stay together, whatever is said of their order."""
    chance = torch.full((100,), 0.8)
    assert (weigh_losses(chance, torch.ones(100, dtype=torch.bool), 0.01) < 0.5).all()
