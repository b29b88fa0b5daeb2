"""The benchmark's Fourier ring correlation on images in which it is known."""

import numpy as np
import pytest
from benchmarks.micrograph_denoising import correlate_band

SIZE, PIXEL_SIZE, BAND = 512, 1.0, (10, 6)


@pytest.mark.parametrize("known", [0.0, 0.2, 0.6])
def test_coarse_structure_that_does_not_fit_together_at_the_edges_counts_in_no_fine_ring(known: float) -> None:
    rng = np.random.default_rng(3)
    fine, noise = rng.standard_normal((2, SIZE, SIZE))
    seen = known * fine + np.sqrt(1 - known**2) * noise
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    slope = 20 * x + 30 * y**2
    first, second = ((each + slope).astype(np.float32) for each in (fine, seen))
    assert correlate_band(first, second, PIXEL_SIZE, BAND) == pytest.approx(known, abs=0.03)
    assert correlate_band(first, second, PIXEL_SIZE, BAND, taper=0) > known + 0.2, "which the test is about"
