import math

import pytest
import torch

from magellon.algorithms.fsc import fourier_shell_correlation, resolution_at


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 16), (15, 15), (16, 16, 16)])
def test_map_agrees_with_itself_and_is_opposite_to_its_negative(shape: tuple[int, ...]) -> None:
    image = noise(*shape)
    assert torch.allclose(fourier_shell_correlation(image, image), torch.ones(shape[0] // 2 + 1, dtype=torch.float64))
    assert torch.allclose(fourier_shell_correlation(image, -2 * image), -torch.ones(shape[0] // 2 + 1, dtype=torch.float64))


def test_curve_is_that_of_the_full_transform() -> None:
    first, second = noise(12, 12, 12), noise(12, 12, 12, seed=1)
    a, b = (torch.fft.fftn(item.double()) for item in (first, second))
    k = torch.fft.fftfreq(12, d=1 / 12)
    radius = (k[:, None, None] ** 2 + k[:, None] ** 2 + k**2).sqrt().round()
    for shell, value in enumerate(fourier_shell_correlation(first, second).tolist()):
        inside = radius == shell
        expected = (a * b.conj()).real[inside].sum() / (a[inside].abs().square().sum() * b[inside].abs().square().sum()).sqrt()
        assert value == pytest.approx(float(expected), abs=1e-12)


def test_known_signal_to_noise_gives_known_correlation() -> None:
    signal = noise(48, 48, 48, seed=2)
    halves = [signal + noise(48, 48, 48, seed=seed) for seed in (3, 4)]
    assert fourier_shell_correlation(*halves)[10:].mean() == pytest.approx(0.5, abs=0.01)


def test_empty_shells_are_zero() -> None:
    constant = torch.ones(8, 8)
    assert fourier_shell_correlation(constant, constant).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_resolution_is_interpolated() -> None:
    curve = torch.tensor([1.0, 1.0, 0.8, 0.2, 0.0])
    assert resolution_at(curve, 0.5, pixel_size=2.0) == pytest.approx(8 * 2.0 / 2.5)
    assert resolution_at(torch.ones(5), 0.143, pixel_size=2.0) == 4.0
    assert math.isinf(resolution_at(torch.zeros(5), 0.143, pixel_size=2.0))


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="two equal squares or cubes"):
        fourier_shell_correlation(torch.ones(8, 8), torch.ones(8, 9))
