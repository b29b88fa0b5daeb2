"""The CTF and dose model against published numbers and the conventions' signs."""

import math

import pytest
import torch

from magellon.algorithms.optics import (
    CtfModel,
    critical_exposure,
    ctf_profile,
    ctf_rfft,
    electron_wavelength,
    exposure_weights,
    voltage_dose_factor,
)


@pytest.mark.parametrize(("voltage", "wavelength"), [(100, 0.0370144), (200, 0.0250793), (300, 0.0196875)])
def test_wavelength_matches_tables(voltage, wavelength):
    assert electron_wavelength(voltage) == pytest.approx(wavelength, rel=1e-5)


def test_ctf_is_minus_amplitude_contrast_at_zero_frequency_and_dark_at_low_frequency():
    model = CtfModel(10000.0, 10000.0, amplitude_contrast=0.07)
    profile = ctf_profile(model, torch.tensor([0.0, 0.02, 0.04]))
    assert profile[0] == pytest.approx(-0.07, abs=1e-6)
    assert (profile < 0).all()


def test_first_zero_lies_where_the_phase_is_pi():
    model = CtfModel(15000.0, 15000.0, amplitude_contrast=0.1)
    k = torch.linspace(0.01, 0.1, 100001, dtype=torch.float64)
    crossing = k[(ctf_profile(model, k) > 0).nonzero()[0, 0]]
    wavelength = electron_wavelength(300)
    chi = math.pi * wavelength * 15000 * crossing**2 - math.pi / 2 * 2.7e7 * wavelength**3 * crossing**4 + math.asin(0.1)
    assert float(chi) == pytest.approx(math.pi, abs=1e-4)


def test_phase_shift_adds_to_chi():
    k = torch.tensor([0.0])
    assert ctf_profile(CtfModel(0.0, 0.0, phase_shift=90.0, amplitude_contrast=0.0), k) == pytest.approx(-1.0)


def test_defocus_angle_runs_from_x_toward_y():
    """At angle 30° the direction (cos 30, sin 30) in (column, row) sees defocus U, and its normal V."""
    model = CtfModel(20000.0, 10000.0, 30.0)
    size, radius = 512, 40.0
    image = torch.fft.fftshift(torch.fft.fft2(torch.fft.irfft2(ctf_rfft(model, (size, size), 1.0), s=(size, size))).real)
    for direction, defocus in ((30, 20000.0), (210, 20000.0), (120, 10000.0), (-60, 10000.0)):
        row = round(radius * math.sin(math.radians(direction)))
        column = round(radius * math.cos(math.radians(direction)))
        k = torch.tensor([math.hypot(row, column) / size])
        measured = image[size // 2 + row, size // 2 + column]
        assert float(measured) == pytest.approx(float(ctf_profile(CtfModel(defocus, defocus), k)), abs=0.02)


def test_a_batch_of_models_equals_one_at_a_time():
    u, v, angle = torch.tensor([12000.0, 23000.0]), torch.tensor([11000.0, 20000.0]), torch.tensor([10.0, -70.0])
    batch = ctf_rfft(CtfModel(u, v, angle, phase_shift=torch.tensor([0.0, 40.0])), (32, 48), 1.5)
    assert batch.shape == (2, 32, 25)
    single = ctf_rfft(CtfModel(23000.0, 20000.0, -70.0, phase_shift=40.0), (32, 48), 1.5)
    torch.testing.assert_close(batch[1], single)


def test_shifted_adds_the_same_height_to_both():
    model = CtfModel(12000.0, 11000.0).shifted(250.0)
    assert (model.defocus_u, model.defocus_v) == (12250.0, 11250.0)


def test_critical_exposure_is_grant_and_grigorieff():
    k = torch.tensor([0.05, 0.1, 0.25])
    expected = [0.245 * f**-1.665 + 2.81 for f in (0.05, 0.1, 0.25)]
    assert critical_exposure(k).tolist() == pytest.approx(expected, rel=1e-6)
    assert critical_exposure(k, 200).tolist() == pytest.approx([0.8 * e for e in expected], rel=1e-6)


def test_voltage_dose_factor_at_the_three_voltages():
    assert [voltage_dose_factor(v) for v in (300, 200, 100)] == pytest.approx([1, 0.8, 0.64])


def test_exposure_weights_fall_with_exposure_and_frequency():
    k = torch.tensor([[0.01, 0.1], [0.2, 0.3]])
    weights = exposure_weights(k, torch.tensor([0.0, 10.0, 20.0]))
    assert weights.shape == (3, 2, 2)
    assert (weights[0] == 1).all()
    torch.testing.assert_close(weights[1] ** 2, weights[2])
    assert weights[2, 1, 1] < weights[2, 0, 0]
