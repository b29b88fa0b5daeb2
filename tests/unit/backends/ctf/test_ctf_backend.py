"""The `ctf` backend: files in, files and values out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import CtfModel, ctf_rfft
from magellon.algorithms.spectrum import centred_power, periodogram
from magellon.backends.ctf.backend import CtfEstimation, CtfParams
from magellon.contracts import BadInput, Context, CtfInput, CtfOutput, Micrograph
from magellon.io.mrc import open_mrc, read_mrc, write_mrc
from magellon.io.star import read_star
from magellon.testing import check_backend

TRUTH = CtfModel(14500.0, 14000.0, 40.0)
PIXEL_SIZE = 1.2


def draw_image(shape: tuple[int, int] = (640, 768)) -> torch.Tensor:
    k_row, k_column = rfft_frequencies(shape, PIXEL_SIZE)
    power = 1 + 0.6 * torch.exp(-30 * (k_row**2 + k_column**2)) * ctf_rfft(TRUTH, shape, PIXEL_SIZE) ** 2
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    image: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(noise) * power.sqrt(), s=shape)
    return image + 10


def as_input(folder: Path, image: np.ndarray, spectrum: Path | None = None) -> CtfInput:
    path = folder / "sum.mrc"
    write_mrc(path, image, PIXEL_SIZE)
    shape = (image.shape[-2], image.shape[-1])
    micrograph = Micrograph(name="a1", path=path, pixel_size=PIXEL_SIZE, shape=shape)
    return CtfInput(micrograph=micrograph, group_spectrum=spectrum)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> CtfInput:
    return as_input(tmp_path_factory.mktemp("input"), draw_image().numpy())


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ctf")


@pytest.fixture(scope="module")
def output(example: CtfInput, workdir: Path) -> CtfOutput:
    answer = check_backend(CtfEstimation, example, workdir=workdir)
    assert isinstance(answer, CtfOutput)
    return answer


def test_finds_the_truth(output: CtfOutput) -> None:
    assert output.ctf.mean_defocus == pytest.approx(14250, abs=60)
    assert output.ctf.astigmatism == pytest.approx(500, abs=200)
    assert output.warnings == ()
    assert output.ctf.score > 0.6
    assert 0 < output.defocus_error < 100


def test_tells_how_much_ice_there_is(example: CtfInput, output: CtfOutput, tmp_path: Path) -> None:
    assert output.ice is not None
    assert output.ice < 0.1
    shape = example.micrograph.shape
    k_row, k_column = rfft_frequencies(shape, PIXEL_SIZE)
    ring = 1 + 3 * ((k_row**2 + k_column**2).sqrt() - 1 / 3.67).abs().lt(0.02)
    icy = torch.fft.irfft2(torch.fft.rfft2(draw_image()) * ring.sqrt(), s=shape)
    (tmp_path / "work").mkdir()
    found = CtfEstimation().run(as_input(tmp_path, icy.numpy()), CtfParams(), Context(workdir=tmp_path / "work"))
    assert found.ice == pytest.approx(3, rel=0.15)


def test_file_names_start_with_the_micrograph(output: CtfOutput) -> None:
    names = [path.name for path in (output.spectrum, output.picture, output.profile)]
    assert names == ["a1_ctf.mrc", "a1_ctf.png", "a1_ctf_profile.star"]


def test_the_diagnostic_is_half_fitted_and_half_measured(output: CtfOutput) -> None:
    with open_mrc(output.spectrum) as mrc:
        pixel_size, picture = mrc.header.pixel_size, mrc.read(0)
    size = picture.shape[0]
    fitted, measured = picture[1:, 1 : size // 2], picture[1:, size // 2 + 1 :][::-1, ::-1]
    y, x = np.mgrid[1:size, 1 : size // 2] - size // 2
    resolution = size * pixel_size / np.hypot(y, x)
    rings = (resolution > 6) & (resolution < 20)
    assert np.corrcoef(fitted[rings], measured[rings])[0, 1] > 0.4


def test_the_profile_lists_frequencies_and_both_curves(output: CtfOutput) -> None:
    table = read_star(output.profile)["ctf_profile"]
    measured, fitted = table.floats("mgnSpectrumMeasured"), table.floats("mgnSpectrumFitted")
    assert table.floats("rlnResolution")[0] == pytest.approx(1 / 30, abs=0.002)
    assert np.corrcoef(measured, fitted)[0, 1] > 0.8


def test_the_picture_opens(output: CtfOutput) -> None:
    with Image.open(output.picture) as picture:
        assert picture.mode == "RGB"
        assert picture.width == 768


def test_a_group_spectrum_is_fitted_too(tmp_path: Path) -> None:
    """The micrograph is noise, the spectrum is not: the surer one counts."""
    image = draw_image((640, 640))
    write_mrc(tmp_path / "PS.mrc", centred_power(periodogram(image), (640, 640), 512).numpy(), PIXEL_SIZE)
    noise = np.random.default_rng(0).normal(size=(640, 640)).astype(np.float32)
    example = as_input(tmp_path, noise, tmp_path / "PS.mrc")
    run = tmp_path / "run"
    run.mkdir()
    output = CtfEstimation().run(example, CtfParams(), Context(workdir=run))
    assert output.ctf.mean_defocus == pytest.approx(14250, abs=80)
    ignored = CtfEstimation().run(example, CtfParams(use_group_spectrum=False), Context(workdir=run))
    assert ignored.warnings


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((16, 16), np.float32), "16"),
        (np.ones((256, 256), np.float32), "nothing to fit"),
        (np.full((256, 256), np.nan, np.float32), "finite"),
        (np.zeros((2, 256, 256), np.float32), "shape"),
    ],
)
def test_bad_micrographs_are_named(tmp_path: Path, image: np.ndarray, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        CtfEstimation().run(as_input(tmp_path, image), CtfParams(), Context(workdir=tmp_path))
    assert "sum.mrc" in str(caught.value)


def test_a_bad_group_spectrum_is_named(tmp_path: Path) -> None:
    write_mrc(tmp_path / "PS.mrc", -np.ones((256, 256), np.float32), PIXEL_SIZE)
    example = as_input(tmp_path, draw_image((256, 256)).numpy(), tmp_path / "PS.mrc")
    with pytest.raises(BadInput, match=r"PS\.mrc"):
        CtfEstimation().run(example, CtfParams(), Context(workdir=tmp_path))


def test_absurd_parameters(example: CtfInput, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        CtfParams(min_defocus=-5)
    for params in (CtfParams(min_defocus=30000, max_defocus=10000), CtfParams(max_resolution=1.5), CtfParams(min_resolution=2)):
        with pytest.raises(BadInput):
            CtfEstimation().run(example, params, Context(workdir=tmp_path))


def test_the_same_numbers_as_the_library(example: CtfInput, output: CtfOutput) -> None:
    from magellon.algorithms.ctf import estimate_ctf

    fit = estimate_ctf(torch.from_numpy(read_mrc(example.micrograph.path)), PIXEL_SIZE)
    assert float(fit.model.defocus_u) == pytest.approx(output.ctf.defocus_u, abs=0.01)
