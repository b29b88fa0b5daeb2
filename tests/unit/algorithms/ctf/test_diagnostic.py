"""The measured half of the diagnostic picture: rings that noise hides, seen along the fit."""

from dataclasses import replace

import torch

from magellon.algorithms.ctf.diagnostic import average_along_rings
from magellon.algorithms.optics import CtfModel, ctf_phase

SIZE, PIXEL_SIZE = 256, 1.5
MODEL = CtfModel(16000.0, 14000.0, 30.0)


def draw(model: CtfModel) -> torch.Tensor:
    axis = (torch.arange(SIZE, dtype=torch.float64) - SIZE // 2) / (SIZE * PIXEL_SIZE)
    chi = ctf_phase(model, axis[:, None] ** 2 + axis**2, torch.atan2(axis[:, None], axis[None, :]))
    return -torch.cos(2 * chi).float()


def correlate(first: torch.Tensor, second: torch.Tensor) -> float:
    """Over the right half, between a third and two thirds of Nyquist."""
    axis = torch.arange(SIZE) - SIZE // 2
    radius = torch.hypot(axis[:, None].float(), axis[None, :].float())
    inside = (radius > SIZE / 6) & (radius < SIZE / 3) & (axis[None, :] > 0)
    return float(torch.corrcoef(torch.stack([first[inside], second[inside]]))[0, 1])


def test_rings_come_out_of_the_noise_and_stay_those_measured_even_with_a_wrong_fit() -> None:
    rings = draw(MODEL)
    noisy = rings + 4 * torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    assert correlate(noisy, rings) < 0.25
    assert correlate(average_along_rings(noisy, MODEL), rings) > 0.5
    assert correlate(average_along_rings(rings, MODEL), rings) > 0.9
    across = replace(MODEL, defocus_angle=75.0)
    wrong = average_along_rings(rings, across)
    assert correlate(wrong, rings) > 0.9
    assert abs(correlate(wrong, draw(across))) < 0.2
    assert not average_along_rings(noisy, MODEL)[:, : SIZE // 2].any()
