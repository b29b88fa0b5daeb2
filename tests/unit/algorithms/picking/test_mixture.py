import torch

from magellon.algorithms.picking.mixture import NoisePeaks, fit_scores, measure_noise_peaks

NOISE = NoisePeaks(mean=1.8, spread=0.7, low=1.4, highest=4.0)


def draw(count: int, mean: float, spread: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return mean + spread * torch.randn(count, generator=generator, dtype=torch.float64)


def test_noise_alone_gives_a_threshold_beyond_it() -> None:
    for seed in range(8):
        values, troughs = draw(200, 1.8, 0.7, seed), draw(200, 1.8, 0.7, seed + 50)
        model = fit_scores(values, troughs, NOISE)
        assert model.particles == 0
        assert (values > model.threshold).sum() == 0


def test_threshold_lies_between_two_clear_groups() -> None:
    for share in (5, 60, 180):
        particles = draw(share, 12.0, 1.5, 2)
        values = torch.cat([draw(200 - share, 1.8, 0.7, 1), particles])
        model = fit_scores(values, draw(200, 1.8, 0.7, 3), NOISE)
        assert model.threshold > 4.0
        assert (particles >= model.threshold).double().mean() >= 0.93
        assert abs(model.particle_mean - 12.0) < 1.0


def test_a_crowd_of_particles_is_not_taken_for_strong_noise() -> None:
    model = fit_scores(draw(200, 12.0, 1.0, 1), draw(200, 6.0, 2.0, 2), NOISE)
    assert model.threshold < 10.5


def test_a_fifth_more_noise_in_an_empty_micrograph_is_no_particle() -> None:
    values = 1.2 * draw(300, 1.8, 0.7, 4)
    model = fit_scores(values, 1.2 * draw(300, 1.8, 0.7, 5), NOISE)
    assert (values > model.threshold).sum() <= 2


def test_too_few_candidates() -> None:
    model = fit_scores(torch.tensor([1.0], dtype=torch.float64), torch.zeros(0, dtype=torch.float64), NOISE)
    assert model.particles == 0
    assert measure_noise_peaks(torch.zeros(2, dtype=torch.float64)).highest > 3


def test_probability_rises_with_the_score() -> None:
    values = torch.cat([draw(100, 1.8, 0.7, 1), draw(50, 8.0, 2.0, 2)])
    model = fit_scores(values, draw(100, 1.8, 0.7, 3), NOISE)
    probability = model.probability(torch.linspace(-2, 14, 50, dtype=torch.float64))
    assert (probability.diff() >= 0).all()
    assert probability[0] == 0
    assert probability[-1] == 1
