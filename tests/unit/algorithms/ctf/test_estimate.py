"""CTF fits against known CTFs."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from magellon.algorithms.ctf import CtfFit, CtfSearch, Microscope, estimate_ctf, estimate_ctf_from_spectrum
from magellon.algorithms.optics import CtfModel
from magellon.algorithms.spectrum import centred_power, periodogram
from magellon.errors import BadInput

Maker = Callable[..., Tensor]


def mean_defocus(model: CtfModel) -> float:
    return (float(model.defocus_u) + float(model.defocus_v)) / 2


def astigmatism_error(fit: CtfFit, truth: CtfModel) -> float:
    x, y = (
        sum(
            sign * (float(m.defocus_u) - float(m.defocus_v)) * wave(math.radians(2 * float(m.defocus_angle)))
            for sign, m in ((1, fit.model), (-1, truth))
        )
        for wave in (math.cos, math.sin)
    )
    return math.hypot(x, y)


def assert_close(fit: CtfFit, truth: CtfModel, defocus: float, astigmatism: float) -> None:
    assert mean_defocus(fit.model) == pytest.approx(mean_defocus(truth), abs=defocus)
    assert astigmatism_error(fit, truth) < astigmatism


@pytest.mark.parametrize(
    ("u", "v", "angle", "pixel_size"),
    [
        (5200.0, 4900.0, 20.0, 1.0),
        (12000.0, 11300.0, 75.0, 1.2),
        (25500.0, 25000.0, -40.0, 0.9),
        (40000.0, 39000.0, 130.0, 1.4),
        (21700.0, 21200.0, 10.0, 2.5),
    ],
)
def test_defocus_and_astigmatism(micrograph: Maker, u: float, v: float, angle: float, pixel_size: float) -> None:
    truth = CtfModel(u, v, angle)
    fit = estimate_ctf(micrograph(truth, pixel_size), pixel_size)
    assert_close(fit, truth, 60, 200)
    assert fit.score > 0.6
    assert fit.warnings == ()
    assert fit.model.defocus_u >= fit.model.defocus_v


def test_angle_is_from_x_toward_y(micrograph: Maker) -> None:
    image = micrograph(CtfModel(13000.0, 12000.0, 30.0), 1.2)
    assert float(estimate_ctf(image, 1.2).model.defocus_angle) == pytest.approx(30, abs=6)
    assert float(estimate_ctf(image.flip(0), 1.2).model.defocus_angle) == pytest.approx(-30, abs=6)


@pytest.mark.parametrize("shape", [(768, 1280), (1279, 801)])
def test_rectangles_and_odd_sides(micrograph: Maker, shape: tuple[int, int]) -> None:
    truth = CtfModel(16500.0, 16000.0, 50.0)
    assert_close(estimate_ctf(micrograph(truth, 1.1, shape), 1.1), truth, 60, 200)


def test_other_microscope(micrograph: Maker) -> None:
    truth = CtfModel(15000.0, 14500.0, 60.0, voltage=200, spherical_aberration=1.4, amplitude_contrast=0.07)
    assert_close(estimate_ctf(micrograph(truth, 1.2), 1.2, Microscope(200, 1.4, 0.07)), truth, 60, 200)


def test_phase_shift_on_request(micrograph: Maker, ring_strength: Any) -> None:
    truth = CtfModel(9000.0, 8700.0, 20.0, phase_shift=70.0)
    fit = estimate_ctf(micrograph(truth, 1.2, rings=ring_strength(amplitude=0.8)), 1.2, search=CtfSearch(phase_shift=True))
    assert_close(fit, truth, 120, 250)
    assert float(fit.model.phase_shift) == pytest.approx(70, abs=10)
    assert 0 < fit.phase_shift_error < 10


def test_known_phase_shift(micrograph: Maker) -> None:
    truth = CtfModel(9000.0, 8700.0, 20.0, phase_shift=70.0)
    fit = estimate_ctf(micrograph(truth, 1.2), 1.2, search=CtfSearch(min_phase_shift=70.0))
    assert_close(fit, truth, 60, 200)
    assert float(fit.model.phase_shift) == pytest.approx(70)


def test_square_falloff_is_not_astigmatism(micrograph: Maker, ring_strength: Any) -> None:
    """Large pixels make a spectrum fall off as a square, which a strongly astigmatic low defocus could imitate."""
    truth = CtfModel(11700.0, 11200.0, 165.0)
    fit = estimate_ctf(micrograph(truth, 3.0, rings=ring_strength(pixel_falloff=0.5)), 3.0)
    assert_close(fit, truth, 150, 400)


def test_group_spectrum_gives_the_same(micrograph: Maker) -> None:
    truth = CtfModel(18000.0, 17500.0, 50.0)
    image = micrograph(truth, 1.2)
    power = centred_power(periodogram(image), (1024, 1024), 512)
    fit = estimate_ctf_from_spectrum(power, 1.2)
    assert_close(fit, truth, 80, 250)
    assert float(estimate_ctf_from_spectrum(power * 1e6, 1.2).model.defocus_u) == pytest.approx(
        float(fit.model.defocus_u), abs=1
    )


def test_outliers_and_a_gradient_do_no_harm(micrograph: Maker) -> None:
    truth = CtfModel(18000.0, 17500.0, 50.0)
    image = 100 + 10 * micrograph(truth, 1.2) + torch.linspace(0, 200, 1024)
    image[100, 200] = 1e4
    image[700, 30] = 1e4
    assert_close(estimate_ctf(image, 1.2), truth, 60, 200)


@pytest.mark.parametrize("seed", range(3))
def test_white_noise_is_flagged(seed: int) -> None:
    fit = estimate_ctf(torch.randn(1024, 1024, generator=torch.Generator().manual_seed(seed)), 1.2)
    assert fit.score < 0.2
    assert fit.resolution > 20
    assert any("score" in warning for warning in fit.warnings)


def test_no_astigmatism_when_none_is_allowed(micrograph: Maker) -> None:
    fit = estimate_ctf(micrograph(CtfModel(18000.0, 17900.0), 1.2), 1.2, search=CtfSearch(max_astigmatism=0))
    assert fit.model.defocus_u == fit.model.defocus_v
    assert mean_defocus(fit.model) == pytest.approx(17950, abs=50)


def test_outside_the_search_is_flagged(micrograph: Maker) -> None:
    fit = estimate_ctf(micrograph(CtfModel(18000.0, 17900.0), 1.2), 1.2, search=CtfSearch(max_defocus=12000))
    assert fit.warnings


@pytest.mark.slow
def test_errors_are_honest(micrograph: Maker, ring_strength: Any) -> None:
    """Over 100 micrographs of weak rings: no gross failure, and errors as large as estimated."""
    defocus, astigmatism = [], []
    for seed in range(100):
        draw = random.Random(seed)
        mean, half, angle = draw.uniform(5000, 40000), draw.uniform(0, 300), draw.uniform(0, 180)
        pixel_size = draw.uniform(0.8, 1.5)
        rings = ring_strength(amplitude=draw.uniform(0.3, 0.8), b_factor=draw.uniform(40, 120), ice=0.01)
        truth = CtfModel(mean + half, mean - half, angle)
        fit = estimate_ctf(micrograph(truth, pixel_size, rings=rings, seed=seed), pixel_size)
        assert mean_defocus(fit.model) == pytest.approx(mean, abs=0.1 * mean)
        defocus.append((mean_defocus(fit.model) - mean) / fit.defocus_error)
        astigmatism.append(astigmatism_error(fit, truth) / fit.astigmatism_error / math.sqrt(2))
    assert 0.75 < math.sqrt(sum(z * z for z in defocus) / len(defocus)) < 1.5
    assert 0.75 < math.sqrt(sum(z * z for z in astigmatism) / len(astigmatism)) < 1.5


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(16, 16), "at least 128"),
        (torch.full((256, 256), 3.0), "constant"),
        (torch.full((256, 256), math.nan), "not finite"),
        (torch.zeros(3, 256, 256), "shape"),
    ],
)
def test_images_that_cannot_be_fitted(image: Tensor, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        estimate_ctf(image, 1.2)


def test_one_nan_is_enough(micrograph: Maker) -> None:
    image = micrograph(CtfModel(18000.0, 17900.0), 1.2, (256, 256))
    image[3, 4] = math.inf
    with pytest.raises(BadInput, match="not finite"):
        estimate_ctf(image, 1.2)


@pytest.mark.parametrize(
    "change",
    [
        {"min_defocus": 20000, "max_defocus": 10000},
        {"min_defocus": 0},
        {"max_astigmatism": -1},
        {"max_resolution": 1.0},
        {"min_resolution": 4, "max_resolution": 3.5},
        {"phase_shift": True, "min_phase_shift": 90, "max_phase_shift": 20},
    ],
)
def test_impossible_searches(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        estimate_ctf(torch.randn(256, 256), 1.2, search=replace(CtfSearch(), **change))
