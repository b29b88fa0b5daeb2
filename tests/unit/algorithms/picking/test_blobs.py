from collections.abc import Callable
from typing import Any

import pytest
import torch

from magellon.algorithms.picking import pick_dog
from magellon.errors import BadInput

Make = Callable[..., Any]


@pytest.mark.parametrize("kind", ["ball", "shell", "slender"])
def test_finds_particles_of_every_shape_at_the_default_threshold(make_scenery: Make, kind: str) -> None:
    scenery = make_scenery(kind, 40)
    precision, recall, distance = scenery.match(pick_dog(scenery.image, 2.0, 150.0).coordinates)
    assert precision >= 0.93
    assert recall >= 0.93
    assert distance < 0.08


def test_an_empty_micrograph_gives_hardly_a_pick(make_scenery: Make) -> None:
    counts = [len(pick_dog(make_scenery("ball", 0, seed=seed).image, 2.0, 150.0)) for seed in (3, 4)]
    assert max(counts) <= 1


@pytest.mark.parametrize(("side", "pixels"), [(384, 5.0), (1024, 18.0)], ids=["small particles", "large field"])
def test_thousands_of_maxima_of_noise_are_no_particles(side: int, pixels: float) -> None:
    image = torch.randn(side, side, generator=torch.Generator().manual_seed(1))
    assert len(pick_dog(image, 1.0, pixels)) <= 1


def test_a_few_clear_particles_on_a_large_field_are_found() -> None:
    """Too few to be seen among thousands of maxima as a group of their own, but beyond the reach of noise."""
    image = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(2))
    places = torch.tensor([[150.0, 200.0], [700.0, 300.0], [420.0, 880.0]])
    line = torch.arange(1024.0)
    for x, y in places:
        radius = torch.hypot(line[:, None] - y, line[None, :] - x)
        image -= 1.2 * (1 - (radius / 9) ** 2).clamp(min=0).sqrt()
    found = pick_dog(image, 1.0, 18.0).coordinates.float()
    assert len(found) <= 5
    assert float(torch.cdist(places, found).min(dim=1).values.max()) < 3


def test_a_crowd_is_picked_whole(make_scenery: Make) -> None:
    scenery = make_scenery("ball", 40, size=640, seed=5)
    precision, recall, _ = scenery.match(pick_dog(scenery.image, 2.0, 150.0).coordinates)
    assert precision >= 0.95
    assert recall >= 0.93


def test_slender_particles_are_centred(make_scenery: Make) -> None:
    scenery = make_scenery("slender", 30, strength=1.5)
    _, recall, distance = scenery.match(pick_dog(scenery.image, scenery.pixel_size, scenery.diameter).coordinates)
    assert recall > 0.8
    assert distance < 0.025


def test_diameter_may_be_a_fifth_off(make_scenery: Make) -> None:
    scenery = make_scenery("ball", 40, seed=6)
    for factor in (0.8, 1.2):
        precision, recall, _ = scenery.match(pick_dog(scenery.image, 2.0, 150.0 * factor).coordinates)
        assert precision >= 0.9
        assert recall >= 0.85


def test_scores_fall_and_coordinates_lie_inside(make_scenery: Make) -> None:
    scenery = make_scenery("ball", 40)
    peaks = pick_dog(scenery.image, 2.0, 150.0)
    assert (peaks.scores.diff() <= 0).all()
    height, width = scenery.image.shape
    assert peaks.coordinates.min() >= 37 - 3
    assert peaks.coordinates[:, 0].max() <= width - 37 + 3
    assert peaks.coordinates[:, 1].max() <= height - 37 + 3


def test_the_unit_of_the_image_does_not_matter(make_scenery: Make) -> None:
    image = make_scenery("ball", 30, size=512).image
    first, second = pick_dog(image, 2.0, 150.0), pick_dog(image * 0.01 - 7, 2.0, 150.0)
    assert len(first) == len(second)
    torch.testing.assert_close(first.coordinates, second.coordinates, atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("image", "diameter", "words"),
    [
        (torch.full((64, 64), 3.0), 60.0, "constant"),
        (torch.zeros(20, 64), 30.0, "at least 32"),
        (torch.tensor([float("nan")]).repeat(64, 64), 30.0, "NaN"),
        (torch.randn(64, 64, generator=torch.Generator().manual_seed(1)), 3.0, "4 pixels"),
        (torch.randn(64, 64, generator=torch.Generator().manual_seed(1)), 500.0, "half the image"),
    ],
)
def test_says_what_is_wrong(image: torch.Tensor, diameter: float, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        pick_dog(image, 1.0, diameter)
