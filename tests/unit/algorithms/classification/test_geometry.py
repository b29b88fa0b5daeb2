"""Coefficients, rotations and shifts: what goes in comes out where the conventions say."""

import math

import pytest
import torch

from magellon.algorithms.classification.disc import draw_images, image_size, make_disc, take_coefficients
from magellon.algorithms.classification.rotation import turn_back, turn_images, turn_references
from magellon.algorithms.classification.upright import UprightImages

SIDE = 48


def draw(*blobs: tuple[float, float, float]) -> torch.Tensor:
    """Gaussians (x, y, height) from the middle of the box."""
    place = torch.arange(SIDE) - SIDE // 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    return sum(h * torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18.0) for cx, cy, h in blobs)


def relative(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found - truth).norm() / truth.norm())


def turned(x: float, y: float, psi: float) -> tuple[float, float]:
    """Where `rlnAnglePsi` takes an object point."""
    cos, sin = math.cos(math.radians(psi)), math.sin(math.radians(psi))
    return x * cos + y * sin, -x * sin + y * cos


def test_a_lower_resolution_is_a_prefix() -> None:
    disc = make_disc(9)
    assert disc.inner(4).sizes[4] == make_disc(4).sizes[4] == len(make_disc(4).rows)
    assert torch.equal(disc.inner(4).rows, make_disc(4).rows)


def test_coefficients_draw_the_image_again() -> None:
    disc = make_disc(16)
    image = draw((9, 4, 1.0), (-3, -5, 2.0))
    drawn = draw_images(take_coefficients(image, disc), disc, SIDE)
    assert torch.allclose(drawn, image - image.mean(), atol=1e-3)


def test_white_noise_has_unit_variance_in_every_coefficient() -> None:
    disc = make_disc(10)
    noise = torch.randn(500, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    assert float(take_coefficients(noise, disc).abs().square().mean()) == pytest.approx(1, abs=0.01)


def test_phases_move_content() -> None:
    disc = make_disc(14)
    moved = take_coefficients(draw((5, 0, 1.0)), disc) * disc.phases(torch.tensor([3 / SIDE, -2 / SIDE]))
    assert relative(moved, take_coefficients(draw((3, 3, 1.0)), disc)) < 1e-4


@pytest.mark.parametrize("psi", [0.0, 37.0, -110.0])
def test_references_turn_as_psi_says(psi: float) -> None:
    disc = make_disc(12)
    blobs = ((9.0, 4.0, 1.0), (0.0, -6.0, 2.0))
    truth = take_coefficients(draw(*((*turned(x, y, psi), h) for x, y, h in blobs)), disc)
    reference = take_coefficients(draw(*blobs), disc)
    found = turn_references(reference[None], disc, torch.tensor([psi]))[0, 0]
    assert relative(found, truth) < 0.01
    assert relative(turn_back(truth[None], disc, torch.tensor([psi])), reference) < 0.01
    upright = turn_images(draw_images(truth, disc, SIDE)[None], torch.tensor([-psi]))
    assert relative(take_coefficients(upright, disc)[0], reference) < 0.03


def test_image_sizes_hold_the_disc_and_have_small_factors() -> None:
    sizes = [image_size(radius) for radius in range(3, 40)]
    assert all(size > 2 * radius and size % 2 == 0 for size, radius in zip(sizes, range(3, 40), strict=True))


def test_noise_weighted_by_its_transfer_is_white_once_whitened() -> None:
    disc = make_disc(9)
    transfer = 0.2 + torch.rand(400, 10, generator=torch.Generator().manual_seed(3))
    noise = torch.randn(400, len(disc.rows), dtype=torch.complex64, generator=torch.Generator().manual_seed(4))
    strength = torch.linspace(0.3, 2.0, 10)
    size = image_size(9)
    images = draw_images(noise * (transfer * strength).sqrt()[:, disc.shells], disc, size)
    white = take_coefficients(UprightImages(images, transfer * strength, disc).whitened(), disc)
    power = disc.shell_sums(white.abs() ** 2).mean(0) / disc.counts
    assert float((power[1:] - 1).abs().max()) < 0.1
