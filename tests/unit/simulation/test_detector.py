"""Cameras: signal, noise, coincidence, gain, defects."""

import numpy as np
import pytest

from magellon.simulation.detector import DETECTORS, Camera, Recorder, remove_coincident, sample_camera
from magellon.simulation.spec import DetectorRanges

SHAPE = (512, 512)
PERFECT = DetectorRanges((0.0, 0.0), (0.0, 0.0), (6.0, 6.0), (0.0, 0.0), (0.0, 0.0))


def record(name: str, mean: float = 1.5, ranges: DetectorRanges = PERFECT) -> tuple[Camera, np.ndarray]:
    camera = sample_camera(np.random.default_rng(1), DETECTORS[name], ranges, SHAPE)
    recorder = Recorder(camera, np.random.default_rng(2), mean * camera.detector.efficiency)
    return camera, np.asarray(recorder.record_frame(np.full(SHAPE, mean, dtype=np.float32)), dtype=np.float64)


def noise_spectrum(image: np.ndarray) -> np.ndarray:
    """Radial noise power over the mean, in eight rings to Nyquist."""
    power = np.abs(np.fft.rfft2(image - image.mean())) ** 2 / image.size
    k = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None])
    return np.array([power[(k > low) & (k <= low + 1 / 16)].mean() for low in np.arange(8) / 16])


@pytest.mark.parametrize("name", ["k2", "k3", "falcon4"])
def test_counting_detectors_count_and_their_noise_is_nearly_white(name: str) -> None:
    camera, image = record(name)
    assert np.array_equal(image, np.rint(image))
    lost = 1 - image.mean() / (1.5 * camera.detector.efficiency)
    assert 0 <= lost < 0.15
    spectrum = noise_spectrum(image) / image.mean()
    assert spectrum == pytest.approx(np.ones(8), abs=0.25)
    assert spectrum[0] < spectrum[-1] + 0.03  # coincidence takes low frequencies first


def test_integrating_detector_correlates_its_noise() -> None:
    _, image = record("falcon")
    spectrum = noise_spectrum(image)
    assert spectrum[7] < 0.5 * spectrum[0]
    assert image.mean() == pytest.approx(1.5 * 0.95 * 12, rel=0.01)


def test_coincidence_loses_the_expected_fraction() -> None:
    """Half of the other electrons of the nine pixels, in the fraction of frames that are the same."""
    counts = np.random.default_rng(0).poisson(0.5, (1000, 1000)).astype(np.uint8)
    left = remove_coincident(counts, 0.05, np.random.default_rng(1))
    assert 1 - left.sum() / counts.sum() == pytest.approx(0.5 * 9 * 0.5 * 0.05, rel=0.05)
    assert (left <= counts).all()


def test_camera_has_the_gain_and_defects_it_was_asked_for() -> None:
    camera = sample_camera(np.random.default_rng(5), DETECTORS["k3"], DetectorRanges(gain=(0.03, 0.03)), SHAPE)
    good = (camera.gain > 0) & (camera.response > 0)
    assert camera.response[good].std() == pytest.approx(0.03, rel=0.4)
    assert (camera.gain * camera.response)[good].std() < 0.005
    assert len(camera.listed) >= 2
    recorder = Recorder(camera, np.random.default_rng(2), 1.3)
    image = np.asarray(recorder.record_frame(np.full(SHAPE, 1.5, dtype=np.float32)))
    assert not image[camera.response == 0][:-1].all()
    assert image[camera.hot[:, 1], camera.hot[:, 0]].mean() > 4
