"""Hot and dead pixels are mended; what is larger than a pixel stays."""

import pytest
import torch

from magellon.algorithms.targets.spikes import mend_spikes


def make_picture() -> torch.Tensor:
    return 100 + 10 * torch.rand(200, 300, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("value", [1e5, -1e5, 1e30])
def test_single_pixels_become_like_those_around_them(value: float) -> None:
    picture = make_picture()
    spiked = picture.clone()
    places = [(0, 0), (50, 299), (51, 60), (52, 61)]
    for row, column in places:
        spiked[row, column] = value
    mended, count = mend_spikes(spiked)
    assert count == len(places)
    assert 100 <= float(mended.min()) <= float(mended.max()) <= 110
    others = torch.ones_like(picture, dtype=torch.bool)
    others[tuple(zip(*places, strict=True))] = False
    assert torch.equal(mended[others], picture[others])


def test_what_is_larger_than_a_pixel_stays() -> None:
    picture = make_picture()
    picture[40:46, 70:77] = -1000
    mended, count = mend_spikes(picture)
    assert float(mended[42, 73]) == -1000
    assert count <= 4, "of its corners at most, of which most neighbours are not dirt"


@pytest.mark.parametrize("picture", [make_picture(), torch.full((3, 3), 5.0), torch.zeros(1, 1)])
def test_a_picture_without_spikes_is_used_as_it_is(picture: torch.Tensor) -> None:
    mended, count = mend_spikes(picture)
    assert count == 0
    assert mended is picture
