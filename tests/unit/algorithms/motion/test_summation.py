"""Sums of frames keep the power of noise and the amplitude of what moves, at every frequency."""

import math

import pytest
import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies, rfft_shift
from magellon.algorithms.motion.field import MotionField
from magellon.algorithms.motion.frames import Frames
from magellon.algorithms.motion.pixels import plan_repair
from magellon.algorithms.motion.settings import Budget
from magellon.algorithms.motion.summation import sum_frames
from magellon.algorithms.spectrum.power import periodogram

BANDS = [(low / 20, low / 20 + 0.15) for low in range(4, 17, 3)]  # of Nyquist: 0.2 to 0.95


def hold(stack: Tensor) -> Frames:
    shape = (stack.shape[1], stack.shape[2])
    return Frames(stack, shape, None, plan_repair(torch.zeros(shape, dtype=torch.bool)))


def draw_field(shape: tuple[int, int], frames: int, local: float) -> MotionField:
    """Sub-pixel steps of any size, and local motion of up to about `local` px."""
    generator = torch.Generator().manual_seed(7)
    track = torch.rand(frames, 2, generator=generator, dtype=torch.float64) * 8
    coefficients = (torch.rand(frames, 9, 2, generator=generator, dtype=torch.float64) - 0.5) * local
    return MotionField(shape, track, coefficients if local else None)


def choose_regions(shape: tuple[int, int], band: tuple[float, float]) -> dict[str, Tensor]:
    row, column = (2 * k.abs() for k in rfft_frequencies(shape))
    along_y = (row >= band[0]) & (row < band[1])
    along_x = (column >= band[0]) & (column < band[1])
    return {"y": along_y & (column < 0.2), "x": along_x & (row < 0.2), "diagonal": along_y & along_x}


@pytest.mark.parametrize("local", [0.0, 0.5, 3.0])
def test_white_noise_stays_white(local: float) -> None:
    shape, count = (640, 640), 8
    generator = torch.Generator().manual_seed(1)
    stack = torch.randn(count, *shape, generator=generator)
    # Several combinations of the same frames are as many independent measurements.
    weights = torch.linalg.qr(torch.randn(count, count, generator=generator)).Q.double()
    sums = sum_frames(hold(stack), draw_field(shape, count, local), weights, Budget())
    power = periodogram(sums).double().sum(0)
    before = periodogram(stack).double().sum(0)
    for band in BANDS:
        for name, region in choose_regions(shape, band).items():
            assert float(power[region].sum() / before[region].sum()) == pytest.approx(1, abs=0.03), (name, band)


def test_what_moves_comes_out_with_its_amplitude_at_every_frequency() -> None:
    shape, count = (512, 480), 10
    field = draw_field(shape, count, 0.0)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    row, column = rfft_frequencies(shape)
    transform = torch.fft.rfft2(image) * ((row.abs() < 0.475) & (column < 0.475))
    image = torch.fft.irfft2(transform, s=shape)
    stack = torch.fft.irfft2(rfft_shift(transform, shape, field.track), s=shape)
    summed = sum_frames(hold(stack), field, torch.ones(1, count), Budget())[0]
    inner = (slice(16, -16), slice(16, -16))  # the image comes round at its edges, the movie is mirrored there
    wanted, found = torch.fft.rfft2(image[inner]), torch.fft.rfft2(summed[inner]) / count
    for band in BANDS:
        for name, region in choose_regions(tuple(image[inner].shape), band).items():
            cross = (found[region] * wanted[region].conj()).real.double().sum()
            assert float(cross / wanted[region].abs().square().double().sum()) == pytest.approx(1, abs=0.02), (name, band)


@pytest.mark.parametrize("frequency", [0.1, 0.25, 0.4])
@pytest.mark.slow
def test_a_wave_that_is_stretched_comes_out_with_its_amplitude(frequency: float) -> None:
    shape, count = (512, 512), 6
    field = draw_field(shape, count, 1.0)
    places = torch.stack(torch.meshgrid(*(torch.arange(side).double() for side in shape), indexing="ij"), dim=-1)
    wave_vector = torch.tensor([math.sin(0.5), math.cos(0.5)], dtype=torch.float64) * (2 * math.pi * frequency)
    origin = places.expand(count, *shape, 2)
    for _ in range(6):  # where what is seen at a place was in the first frame
        origin = places - torch.stack(
            [
                MotionField(shape, field.track[f : f + 1], field.local[f : f + 1]).displacement(origin[f])[0]
                for f in range(count)
            ]
        )
    stack = torch.cos(origin @ wave_vector).float()
    summed = sum_frames(hold(stack), field, torch.ones(1, count), Budget())[0].double()
    wanted = torch.cos(places @ wave_vector)
    inner = (slice(16, -16), slice(16, -16))
    amplitude = (summed[inner] * wanted[inner]).sum() / wanted[inner].square().sum() / count
    assert float(amplitude) == pytest.approx(1, abs=0.02)


def test_sums_are_linear_in_their_weights_and_a_still_frame_is_itself() -> None:
    stack = torch.randn(3, 100, 150, generator=torch.Generator().manual_seed(5))
    field = draw_field((100, 150), 3, 0.3)
    single = sum_frames(hold(stack), field, torch.eye(3), Budget())
    combined = sum_frames(hold(stack), field, torch.tensor([[2.0, -1.0, 0.5]]), Budget())[0]
    torch.testing.assert_close(combined, 2 * single[0] - single[1] + 0.5 * single[2], rtol=1e-4, atol=1e-4)
    still = MotionField((100, 150), torch.tensor([[0.0, 0.0], [3.0, -2.0], [0.0, 0.0]], dtype=torch.float64))
    moved = sum_frames(hold(stack), still, torch.eye(3), Budget())
    torch.testing.assert_close(moved[0], stack[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(moved[1, :90, 10:], stack[1, 3:93, 8:148], rtol=1e-4, atol=1e-5)
