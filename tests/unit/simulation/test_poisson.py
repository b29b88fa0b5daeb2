"""Fast Poisson numbers are Poisson numbers."""

import numpy as np
import pytest
from scipy import stats

from magellon.simulation.poisson import PoissonSampler


@pytest.mark.parametrize("mean", [0.003, 0.4, 1.5, 2.999, 7.0])
def test_distribution_is_exact(mean: float) -> None:
    """Also where the mean is no multiple of the table's step, and where it lies beyond the table."""
    sampler = PoissonSampler(1.5)
    drawn = sampler.draw(np.full((1000, 1000), mean, dtype=np.float32), np.random.default_rng(3))
    most = int(stats.poisson.ppf(1 - 1e-5, mean))
    expected = stats.poisson.pmf(np.arange(most + 1), mean)
    seen = np.bincount(np.minimum(drawn.ravel(), most), minlength=most + 1)
    expected[-1] = 1 - expected[:-1].sum()
    assert stats.chisquare(seen, expected * drawn.size).pvalue > 1e-4


def test_pixels_are_independent_and_follow_their_own_mean() -> None:
    means = np.linspace(0, 3, 512, dtype=np.float32)[None].repeat(512, axis=0)
    drawn = PoissonSampler(1.5).draw(means, np.random.default_rng(1)).astype(float)
    assert np.abs(drawn.mean(axis=0) - means[0]).max() < 5 * np.sqrt(3 / 512)
    noise = (drawn - means)[:, 100:] / np.sqrt(means[:, 100:])
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 0.01
    assert abs((noise[1:] * noise[:-1]).mean()) < 0.01
    assert not drawn[:, 0].any()
