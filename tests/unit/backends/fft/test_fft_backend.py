"""The `fft` backend: a picture with visible rings."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import CtfModel, ctf_rfft
from magellon.backends.fft.backend import FftParams, PowerSpectrum
from magellon.contracts import BadInput, Context, FftInput, FftOutput, Micrograph
from magellon.io.mrc import write_mrc
from magellon.testing import check_backend

PIXEL_SIZE = 1.25
TRUTH = CtfModel(9000.0, 9000.0)


def as_input(folder: Path, image: np.ndarray) -> FftInput:
    write_mrc(folder / "sum.mrc", image, PIXEL_SIZE)
    shape = (image.shape[-2], image.shape[-1])
    return FftInput(micrograph=Micrograph(name="b2", path=folder / "sum.mrc", pixel_size=PIXEL_SIZE, shape=shape))


def test_rings_lie_where_the_ctf_puts_them(tmp_path: Path) -> None:
    shape = (800, 640)
    k_row, k_column = rfft_frequencies(shape, PIXEL_SIZE)
    k_squared = k_row**2 + k_column**2
    falloff = torch.exp(-k_squared * 100) * 20 + 1
    power = falloff * (1 + 0.5 * torch.exp(-20 * k_squared) * ctf_rfft(TRUTH, shape, PIXEL_SIZE) ** 2)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    image = torch.fft.irfft2(torch.fft.rfft2(noise) * power.sqrt(), s=shape).numpy()
    output = check_backend(PowerSpectrum, as_input(tmp_path, image), FftParams(size=512), workdir=tmp_path / "out")
    assert isinstance(output, FftOutput)
    assert output.picture.name == "b2_fft.png"
    shown = np.asarray(Image.open(output.picture), dtype=float)
    assert shown.shape == (512, 512)
    y, x = (np.mgrid[:512, :512] - 256) / (512 * PIXEL_SIZE)
    k2 = torch.from_numpy(y**2 + x**2)
    # sin² of the phase without its small constant and aberration parts is enough here.
    expected = -torch.cos(2 * torch.pi * 0.019687 * 9000 * k2 - torch.pi * 2.7e7 * 0.019687**3 * k2**2 + 0.2).numpy()
    rings = (k2.numpy() > 1 / 20**2) & (k2.numpy() < 1 / 6**2)
    assert np.corrcoef(shown[rings], expected[rings])[0, 1] > 0.4


def test_never_larger_than_asked(tmp_path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(1500, 1400)).astype(np.float32)
    output = PowerSpectrum().run(as_input(tmp_path, image), FftParams(size=1024, max_resolution=0.5), Context(workdir=tmp_path))
    with Image.open(output.picture) as picture:
        assert picture.size == (1024, 1024)


def test_a_constant_image_is_a_flat_picture(tmp_path: Path) -> None:
    """The picture is always made."""
    output = PowerSpectrum().run(as_input(tmp_path, np.ones((200, 200), np.float32)), FftParams(), Context(workdir=tmp_path))
    assert np.ptp(np.asarray(Image.open(output.picture)).astype(int)) <= 1


@pytest.mark.parametrize("image", [np.zeros((16, 16), np.float32), np.full((64, 64), np.nan, np.float32)])
def test_bad_images_are_named(tmp_path: Path, image: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"sum\.mrc"):
        PowerSpectrum().run(as_input(tmp_path, image), FftParams(), Context(workdir=tmp_path))
