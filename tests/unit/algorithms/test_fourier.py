"""Fourier kernels against delta images and sampled functions: a wrong sign or origin shows at once."""

import pytest
import torch

from magellon.algorithms.fourier import radial_mean, rfft_crop, rfft_frequencies, rfft_shift


def band_limited(shape: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """A smooth periodic image with no content above a fifth of Nyquist."""
    k_row, k_column = rfft_frequencies(shape, dtype=torch.float64)
    noise = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.fft.irfft2(torch.fft.rfft2(noise) * (torch.hypot(k_row, k_column) < 0.1), s=shape)


def test_frequencies_are_cycles_per_angstrom():
    k_row, k_column = rfft_frequencies((6, 8), pixel_size=2.0)
    assert k_row.shape == (6, 1)
    assert k_column.shape == (1, 5)
    assert k_row.flatten().tolist() == pytest.approx([0, 1 / 12, 2 / 12, -3 / 12, -2 / 12, -1 / 12])
    assert k_column.flatten().tolist() == pytest.approx([0, 1 / 16, 2 / 16, 3 / 16, 4 / 16])


@pytest.mark.parametrize("shape", [(64, 48), (63, 48), (64, 49), (63, 49)])
@pytest.mark.parametrize("factor", [2, 3])
def test_crop_keeps_sample_zero_in_place(shape, factor):
    shape = (shape[0] // factor * factor, shape[1] // factor * factor)
    image = band_limited(shape)
    new_shape = (shape[0] // factor, shape[1] // factor)
    small = torch.fft.irfft2(rfft_crop(torch.fft.rfft2(image), shape, new_shape), s=new_shape)
    torch.testing.assert_close(small, image[::factor, ::factor], atol=1e-12, rtol=0)


@pytest.mark.parametrize("shape", [(64, 48), (65, 49)])
@pytest.mark.parametrize("new_shape", [(32, 24), (33, 25), (32, 25), (33, 24)])
def test_cropped_transform_is_that_of_a_real_image_with_the_same_mean(shape, new_shape):
    image = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    cropped = rfft_crop(torch.fft.rfft2(image), shape, new_shape)
    small = torch.fft.irfft2(cropped, s=new_shape)
    torch.testing.assert_close(torch.fft.rfft2(small), cropped, atol=1e-9, rtol=0)
    assert small.mean() == pytest.approx(float(image.mean()), abs=1e-12)


@pytest.mark.parametrize("new_shape", [(65, 48), (64, 0), (10, 49)])
def test_crop_refuses_to_enlarge_or_vanish(new_shape):
    with pytest.raises(ValueError, match="64 x 48"):
        rfft_crop(torch.zeros(64, 25, dtype=torch.complex64), (64, 48), new_shape)


def test_shift_moves_content_to_larger_row_and_column():
    image = torch.zeros(2, 16, 20)
    image[:, 5, 7] = 1
    shifts = torch.tensor([[2.0, -3.0], [-5.0, 12.0]])
    moved = torch.fft.irfft2(rfft_shift(torch.fft.rfft2(image), (16, 20), shifts), s=(16, 20))
    assert [divmod(int(m.argmax()), 20) for m in moved] == [(7, 4), (0, 19)]


def test_shift_by_a_fraction_interpolates_exactly():
    shape = (32, 32)
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")

    def wave(y, x):
        return torch.cos(2 * torch.pi * (3 * y + 2 * x) / 32)

    moved = torch.fft.irfft2(rfft_shift(torch.fft.rfft2(wave(rows, columns)), shape, torch.tensor([0.3, -0.7])), s=shape)
    torch.testing.assert_close(moved, wave(rows - 0.3, columns + 0.7), atol=1e-5, rtol=0)


def test_radial_mean_averages_rings():
    y, x = torch.meshgrid(torch.arange(-8.0, 8), torch.arange(-8.0, 8), indexing="ij")
    radius = torch.hypot(y, x)
    profile = radial_mean(torch.stack([radius.round(), torch.ones_like(radius)]), radius, bins=6)
    torch.testing.assert_close(profile, torch.stack([torch.arange(6.0), torch.ones(6)]))
    assert radial_mean(torch.ones(1, 1), torch.zeros(1, 1), bins=3).tolist() == [1, 0, 0]
