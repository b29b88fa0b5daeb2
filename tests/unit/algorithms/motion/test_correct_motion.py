"""Motion correction against movies whose motion is known."""

import numpy as np
import pytest
import torch

from known_movies import KnownMovie, make_movie
from magellon.algorithms.fourier import rfft_shift
from magellon.algorithms.motion import Budget, MotionSettings, correct_motion, summarise_motion
from magellon.algorithms.motion.field import MotionField, grid_centres
from magellon.errors import BadInput

SETTINGS = MotionSettings(exposure_per_frame=1.0)


@pytest.fixture(scope="module")
def drifting() -> KnownMovie:
    return make_movie()


@pytest.fixture(scope="module")
def stretching() -> KnownMovie:
    return make_movie((512, 512), 10, step=0.5, stretch=3.0, counts=3.0)


def field_error(field: MotionField, known: KnownMovie) -> float:
    """RMS over frames and field, in px."""
    points = grid_centres(field.shape, (6, 6)).reshape(-1, 2)
    error = field.displacement(points) - known.displacement(points)
    return float(error.square().sum(-1).mean().sqrt())


def test_drift_is_found_and_corrected(drifting: KnownMovie) -> None:
    result = correct_motion(drifting.frames, 2.0, SETTINGS)
    assert field_error(result.field, drifting) < 0.15
    inner = (slice(24, -24), slice(24, -24))
    blurred = drifting.frames.double().sum(0)
    sharp = np.corrcoef(result.unweighted[inner].flatten(), drifting.image[inner].flatten())[0, 1]
    assert sharp > np.corrcoef(blurred[inner].flatten(), drifting.image[inner].flatten())[0, 1] + 0.1
    torch.testing.assert_close(result.even + result.odd, result.unweighted)


def test_local_motion_is_found(stretching: KnownMovie) -> None:
    local = correct_motion(stretching.frames, 2.0, MotionSettings(patch_size=250.0, exposure_per_frame=1.0))
    rigid = correct_motion(stretching.frames, 2.0, MotionSettings(local_motion=False))
    assert field_error(rigid.field, stretching) > 1.0
    assert field_error(local.field, stretching) < 0.15
    assert rigid.field.local is None


def test_local_motion_is_not_invented(drifting: KnownMovie) -> None:
    local = correct_motion(drifting.frames, 2.0, MotionSettings(patch_size=150.0))
    rigid = correct_motion(drifting.frames, 2.0, MotionSettings(local_motion=False))
    assert field_error(local.field, drifting) < field_error(rigid.field, drifting) + 0.05


def test_threads_and_memory_do_not_change_a_bit(drifting: KnownMovie) -> None:
    one = correct_motion(drifting.frames, 2.0, SETTINGS, budget=Budget(threads=1))
    two = correct_motion(drifting.frames, 2.0, SETTINGS, budget=Budget(threads=2))
    little = correct_motion(drifting.frames, 2.0, SETTINGS, budget=Budget(threads=1, memory=100_000))
    for other in (two, little):
        for name in ("micrograph", "unweighted", "even", "odd", "group_spectrum"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert torch.equal(one.field.track, other.field.track)


def test_dose_weighting_is_the_weighted_sum_of_transforms() -> None:
    movie = make_movie((128, 128), 8, step=0.0)
    pixel_size, exposure = 1.0, 2.0
    settings = MotionSettings(exposure_per_frame=exposure, hot_pixel_sigma=100.0, local_motion=False)
    result = correct_motion(movie.frames, pixel_size, settings)
    transforms = rfft_shift(torch.fft.rfft2(movie.frames.float()), (128, 128), -result.field.track)
    k = torch.hypot(torch.fft.fftfreq(128)[:, None], torch.fft.rfftfreq(128)[None])
    critical = 0.245 * k.clamp(min=1e-6) ** -1.665 + 2.81
    weights = torch.stack([torch.exp(-exposure * (frame + 1) / (2 * critical)) for frame in range(8)])
    wanted = (weights * transforms).sum(0) / weights.square().sum(0).sqrt()
    found = torch.fft.rfft2(result.micrograph)
    ring = (k > 0.02) & (k < 0.3)
    agreement = (found[ring] * wanted[ring].conj()).real.sum() / (found[ring].abs() * wanted[ring].abs()).sum()
    assert float(agreement) > 0.99
    ratio = found[ring].abs().square().mean() / wanted[ring].abs().square().mean()
    assert float(ratio) == pytest.approx(1, abs=0.05)


def test_binning_keeps_the_first_sample_in_place(drifting: KnownMovie) -> None:
    whole = correct_motion(drifting.frames, 2.0, SETTINGS)
    half = correct_motion(drifting.frames, 2.0, MotionSettings(exposure_per_frame=1.0, binning=2.0))
    assert half.unweighted.shape == (128, 128)
    assert half.pixel_size == pytest.approx(4.0)
    low = torch.fft.rfft2(whole.unweighted)[:20, :20]
    torch.testing.assert_close(torch.fft.rfft2(half.unweighted)[:20, :20] * 4, low, rtol=1e-4, atol=0.5)
    assert half.group_spectrum.shape == (128, 128)


def test_bad_pixels_are_replaced_and_do_not_pin_the_alignment(drifting: KnownMovie) -> None:
    frames = drifting.frames.clone()
    generator = torch.Generator().manual_seed(3)
    places = torch.randint(0, 256, (40, 2), generator=generator)
    frames[:, places[:, 0], places[:, 1]] = 60
    gain = torch.ones(256, 256)
    gain[100:103, 50:90] = 0
    defects = torch.zeros(256, 256, dtype=torch.bool)
    defects[200] = True
    frames[:, 200] = 0
    result = correct_motion(frames, 2.0, SETTINGS, gain=gain, defects=defects)
    found = set(map(tuple, result.bad_pixels.tolist()))
    assert set(map(tuple, places.tolist())) <= found
    assert {(101, 60), (200, 13)} <= found
    assert len(found) < 40 + 120 + 256 + 5
    assert field_error(result.field, drifting) < 0.2
    assert float(result.unweighted.max()) < 12 * 8


def test_gain_is_multiplied(drifting: KnownMovie) -> None:
    generator = torch.Generator().manual_seed(4)
    response = 1 + 0.2 * torch.rand(256, 256, generator=generator)
    recorded = drifting.frames.float() * response
    result = correct_motion(recorded, 2.0, SETTINGS, gain=1 / response)
    assert field_error(result.field, drifting) < 0.15


def test_a_single_frame_stays_where_it_is(drifting: KnownMovie) -> None:
    result = correct_motion(drifting.frames[:1], 2.0, SETTINGS)
    assert result.field.frames == 1
    torch.testing.assert_close(result.unweighted, drifting.frames[0].float(), rtol=1e-5, atol=1e-5)
    assert summarise_motion(result.field.global_track(), 2.0, 1.0, 0.0).total == 0


@pytest.mark.parametrize("shape", [(97, 131), (64, 200), (32, 32)])
def test_odd_and_small_frames(shape: tuple[int, int]) -> None:
    movie = make_movie(shape, 4, step=0.3)
    result = correct_motion(movie.frames, 2.0, SETTINGS)
    assert tuple(result.micrograph.shape) == shape
    assert bool(torch.isfinite(result.micrograph).all())
    assert float(result.field.track.abs().max()) < 8


def test_pure_noise_stays_finite_and_calm() -> None:
    frames = torch.poisson(torch.full((6, 128, 128), 1.0), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    result = correct_motion(frames, 1.5, SETTINGS)
    assert bool(torch.isfinite(result.micrograph).all())
    assert bool(torch.isfinite(result.field.track).all())


def ramp(frames: int = 3, size: int = 64) -> torch.Tensor:
    return torch.arange(size * size).view(size, size).float().repeat(frames, 1, 1)


def test_what_cannot_be_corrected_is_named() -> None:
    broken = ramp()
    broken[1, 5, 5] = torch.nan
    cases = [
        ([], "no frames", {}),
        (torch.zeros(3, 64, 64), "no image: every pixel sums to 0", {}),
        (torch.full((3, 64, 64), 7.0), "no image: every pixel sums to 21", {}),
        (broken, "NaN or infinite values in frame 2", {}),
        ([torch.ones(64, 64), torch.ones(64, 65)], "frame 2 is 64 x 65, the first frame is 64 x 64", {}),
        (ramp(size=4), "4 x 4 pixels are too small", {}),
        (ramp(), "gain reference is 64 x 32, the movie's frames are 64 x 64", {"gain": torch.ones(64, 32)}),
        (ramp(), "no usable pixel", {"gain": torch.zeros(64, 64)}),
    ]
    for frames, message, options in cases:
        with pytest.raises(BadInput, match=message):
            correct_motion(frames, 1.0, SETTINGS, **options)


def test_motion_is_summed_up_by_exposure() -> None:
    track = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0], [3.0, 5.5]], dtype=torch.float64)
    summary = summarise_motion(track, 2.0, 3.0, 0.0)
    assert (summary.total, summary.early, summary.late) == (13.0, 10.0, 3.0)
    assert summarise_motion(track, 2.0, 3.0, 10.0).early == 0
