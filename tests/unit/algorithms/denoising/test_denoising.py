"""Scales, tiles, noise and the whole way from a micrograph to a denoised one, with networks whose answer is known."""

import numpy as np
import pytest
import torch

from magellon.algorithms.denoising import denoise_image, measure_level, run_in_tiles
from magellon.algorithms.denoising.blend import FAINT, Blend
from magellon.algorithms.denoising.network import REACH, STRIDE, count_parameters, make_network
from magellon.algorithms.denoising.scale import PIXEL_SIZE, enlarge_image, plan_scale, reduce_image, resample
from magellon.algorithms.denoising.tiles import Run
from magellon.errors import BadInput


def make_noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make_waves(shape: tuple[int, int], period_px: float) -> torch.Tensor:
    y, x = torch.arange(shape[0])[:, None], torch.arange(shape[1])[None]
    return torch.sin(2 * torch.pi * (y + 0.4 * x) / period_px)


@pytest.fixture(scope="module")
def network() -> Run:
    """Weights that pass signals on through every layer, unlike those a training begins with."""
    module = make_network(3)
    return lambda image: module(image).detach()


def test_the_network_is_small_and_sees_as_far_as_it_says() -> None:
    module = make_network(1).double()
    assert count_parameters(module) < 300_000
    image = make_noise(1, 1, 264, 264).double()
    before = module(image).detach()
    reach = 0
    for place in (128, 128 + STRIDE - 1):
        changed = image.clone()
        changed[..., place, place] += 10
        different = ((module(changed).detach() - before).abs()[0, 0] > 1e-12).nonzero()
        reach = max(reach, int((different - place).abs().max()))
    assert STRIDE * 4 < reach <= REACH


@pytest.mark.parametrize(("shape", "tile"), [((264, 392), 192), ((520, 128), 136), ((128, 128), 640)])
def test_tiles_leave_no_seams(shape: tuple[int, int], tile: int, network: Run) -> None:
    """Equal to the untiled result to float32's rounding: 1e-5 of the signal's spread."""
    image = make_noise(*shape)
    whole = network(image[None, None])[0, 0]
    tiled = run_in_tiles(image, network, tile=tile)
    assert float((tiled - whole).abs().max()) < 1e-5 * max(float(whole.std()), 1e-3)


def test_tiles_are_never_larger_than_asked() -> None:
    sides: list[int] = []

    def watch(image: torch.Tensor) -> torch.Tensor:
        sides.extend(image.shape[-2:])
        return image

    image = make_noise(1000, 1304)
    assert torch.equal(run_in_tiles(image, watch, tile=320), image)
    assert max(sides) <= 320
    assert all(side % STRIDE == 0 for side in sides)


@pytest.mark.parametrize("pixel_size", [0.7, 1.2, 3.9, 6.32])
@pytest.mark.parametrize("shape", [(301, 420), (256, 256)])
def test_what_both_scales_hold_comes_back(shape: tuple[int, int], pixel_size: float) -> None:
    image = 50 + make_waves(shape, 40 / pixel_size)  # 40 Å long
    scale = plan_scale(shape, pixel_size)
    reduced = reduce_image(image, scale)
    assert reduced.shape == scale.reduced
    for whole, small in zip(scale.extended, scale.reduced, strict=True):
        assert whole * pixel_size / small == pytest.approx(PIXEL_SIZE, rel=0.1)
    error = enlarge_image(reduced, scale) - image
    inside = (slice(8, -8), slice(8, -8))
    assert float(error[inside].abs().max()) < 0.05
    assert float(reduced.mean()) == pytest.approx(50, abs=0.1)


def test_the_scale_of_a_usual_micrograph_is_exact_to_a_per_cent() -> None:
    scale = plan_scale((4092, 5760), 0.83)
    for whole, small in zip(scale.extended, scale.reduced, strict=True):
        assert whole * 0.83 / small == pytest.approx(PIXEL_SIZE, rel=0.01)


def test_resampling_keeps_sample_zero_in_place() -> None:
    wave = torch.cos(2 * torch.pi * torch.arange(120) / 40)[None].repeat(60, 1)
    finer = resample(wave, (90, 180))
    assert torch.allclose(finer, torch.cos(2 * torch.pi * torch.arange(180) / 60)[None].repeat(90, 1), atol=1e-5)


def test_the_noise_is_measured_beside_signal_and_slope() -> None:
    slope = torch.linspace(0, 300, 320)[None]
    image = 1000 + slope + 40 * make_waves((256, 320), 30) + 7 * make_noise(256, 320)
    level = measure_level(image)
    assert level.noise == pytest.approx(7, rel=0.03)
    assert level.mean == pytest.approx(1150, rel=0.01)
    assert torch.allclose(level.restore(level.standardise(image)), image, atol=1e-2)


def test_coarse_micrographs_are_measured_where_they_hold_noise() -> None:
    noise = resample(make_noise(200, 200), (400, 400)) * 5
    assert measure_level(noise, limit=0.25).noise == pytest.approx(2 * 5, rel=0.05)


@pytest.mark.parametrize("pixel_size", [1.0, 6.0])
def test_a_network_that_does_nothing_gives_the_low_frequencies(pixel_size: float) -> None:
    image = 200 + 20 * make_waves((300, 260), 60 / pixel_size) + 5 * make_noise(300, 260)
    same = denoise_image(image, pixel_size, lambda tile: tile)
    assert same.shape == image.shape
    assert same.dtype == torch.float32
    assert float(same.mean()) == pytest.approx(float(image.mean()), rel=1e-3)
    if pixel_size > PIXEL_SIZE:
        assert np.corrcoef(same.flatten(), image.flatten())[0, 1] > 0.999, "it holds all of a coarse micrograph"


def test_what_the_network_removes_is_gone_but_for_a_trace() -> None:
    image = 200 + 5 * make_noise(256, 256)
    nothing = denoise_image(image, 1.0, torch.zeros_like)
    k_squared = np.fft.fftfreq(256)[:, None] ** 2 + np.fft.fftfreq(256) ** 2
    # Beyond 1/8 Å in every direction, the network's limit, half is left at 1/6 Å and a tenth at 1/4 Å.
    passing = np.exp(-50 * (k_squared - 1 / 64)) * (k_squared >= 1 / 64)
    assert float(nothing.std()) == pytest.approx(FAINT * 5 * float(np.sqrt(np.mean(passing**2))), rel=0.1)


def test_no_frequency_is_left_out_or_counts_twice() -> None:
    """Network and micrograph meet at 1/8 Å: with a weight of 1 on either side an image passes as it is."""
    image, blend = make_noise(300, 260), Blend(beyond=(1.0, 0.0))
    k_squared = np.fft.fftfreq(300, 1.1)[:, None] ** 2 + np.fft.rfftfreq(260, 1.1) ** 2
    passed = denoise_image(image, 1.1, lambda tile: tile, blend=blend)
    expected = torch.fft.rfft2(image) * torch.from_numpy(np.exp(-50 * np.clip(k_squared - 1 / 64, 0, None)))
    error = passed - torch.fft.irfft2(expected, s=image.shape)
    assert float(error[40:-40, 40:-40].std()) < 0.02 * float(passed.std())


@pytest.mark.parametrize(
    ("image", "pixel_size", "named"),
    [
        (torch.full((64, 64), 3.0), 2.0, "constant.*3"),
        (torch.zeros(20, 500), 1.0, r"\(20, 500\).*32"),
        (torch.zeros(2, 64, 64), 1.0, "two dimensions"),
        (make_noise(64, 64).index_fill(0, torch.tensor([3]), float("nan")), 2.0, "64 values"),
        (make_noise(64, 64), 30.0, "30.*12"),
        (make_noise(64, 64), 1.0, "64 Å.*128"),
        (make_noise(64, 64), float("nan"), "pixel size"),
        (1e30 * make_noise(64, 64), 2.0, r"values from .*e\+30; .*1e\+12"),
    ],
)
def test_what_cannot_be_denoised_is_refused(image: torch.Tensor, pixel_size: float, named: str) -> None:
    with pytest.raises(BadInput, match=named):
        denoise_image(image, pixel_size, lambda tile: tile)


@pytest.mark.parametrize(("shape", "pixel_size"), [((32, 32), 4.0), ((33, 500), 11.0), ((650, 640), 0.2), ((47, 128), 2.8)])
def test_the_smallest_images_work(shape: tuple[int, int], pixel_size: float, network: Run) -> None:
    result = denoise_image(make_noise(*shape) + 10, pixel_size, network)
    assert result.shape == shape
    assert bool(np.isfinite(result.numpy()).all())


@pytest.mark.parametrize("pixel_size", [0.9, 4.0, 6.5])
def test_the_network_is_given_noise_of_one(pixel_size: float) -> None:
    seen: list[torch.Tensor] = []

    def watch(image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return image

    denoise_image(make_noise(600, 500) * 17 + 100, pixel_size, watch)
    expected = min(1.0, PIXEL_SIZE / pixel_size)  # of a coarse micrograph only the frequencies that it has
    assert float(seen[0].std()) == pytest.approx(expected, rel=0.03)
