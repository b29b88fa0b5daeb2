"""Boxes: geometry against known pixels, treatment against its definition."""

import numpy as np
import pytest
import torch

from magellon.algorithms.extraction import (
    Background,
    BoxRecipe,
    crop_boxes,
    extract_boxes,
    find_duplicates,
    find_outside,
    friendly_size,
    normalise_boxes,
    process_boxes,
    remove_dust,
    rescale_boxes,
    round_coordinates,
    subtract_plane,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_coordinates_go_to_the_nearest_pixel_and_the_rest_is_kept() -> None:
    coordinates = torch.tensor([[10.4, 20.6], [0.5, -0.4], [7.0, 8.0]], dtype=torch.float64)
    nearest, rest = round_coordinates(coordinates)
    assert nearest.tolist() == [[10, 21], [1, 0], [7, 8]]
    assert torch.allclose(rest, torch.tensor([[-0.4, 0.4], [0.5, 0.4], [0.0, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize("box", [6, 7, 8])
def test_the_centre_pixel_of_a_box_is_the_coordinate(box: int) -> None:
    image = torch.arange(40 * 50, dtype=torch.float32).reshape(40, 50)
    boxes = crop_boxes(image, torch.tensor([[20, 30]]), box)
    assert boxes.shape == (1, box, box)
    assert boxes[0, box // 2, box // 2] == image[20, 30]
    assert boxes[0, 0, 0] == image[20 - box // 2, 30 - box // 2]


def test_beyond_the_edge_the_nearest_pixel_is_repeated() -> None:
    image = torch.arange(16, dtype=torch.float32).reshape(4, 4)
    (box,) = crop_boxes(image, torch.tensor([[0, 3]]), 4)
    assert box.tolist() == [[1, 2, 3, 3], [1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7]]


def test_which_boxes_leave_the_micrograph() -> None:
    centres = torch.tensor([[4, 4], [3, 10], [16, 10], [17, 10], [-1, 5], [20, 5]])
    outside = find_outside(centres, 8, (20, 30))
    assert outside.edge.tolist() == [False, True, False, True, False, False]
    assert outside.centre.tolist() == [False, False, False, False, True, True]


@pytest.mark.parametrize(("n", "size"), [(24, 12), (24, 16), (32, 30)])
def test_rescaling_keeps_samples_of_a_smooth_image(n: int, size: int) -> None:
    """A wave below the new Nyquist frequency, sampled more coarsely from sample 0 on, is the same wave."""

    def wave(samples: int) -> torch.Tensor:
        place = torch.arange(samples, dtype=torch.float64) / samples
        return torch.cos(2 * torch.pi * (3 * place[:, None] - 2 * place[None, :]) + 0.4) + 5

    assert torch.allclose(rescale_boxes(wave(n), size), wave(size), atol=1e-12)


def test_rescaling_keeps_the_mean_and_the_nyquist_row_of_the_positive_frequency() -> None:
    box = noise(16, 16).double()
    small = rescale_boxes(box, 8)
    assert small.mean() == pytest.approx(float(box.mean()))
    big_transform, transform = torch.fft.fft2(box) / 4, torch.fft.fft2(small)
    assert torch.allclose(transform[4, 1:4], big_transform[4, 1:4])


def test_background_has_mean_zero_and_deviation_one_and_no_slope() -> None:
    slope = torch.arange(32) * 0.3
    boxes = noise(3, 32, 32) * 4 + 100 + slope[:, None] - 2 * slope[None, :]
    background = Background.of_box(32, 12)
    result = normalise_boxes(subtract_plane(boxes, background), background)
    ring = background.mask.bool()
    y, x = (ring.nonzero() - 16).double().T
    for box in result.double():
        assert box[ring].mean() == pytest.approx(0, abs=1e-6)
        assert box[ring].std(correction=0) == pytest.approx(1, abs=1e-6)
        assert (box[ring] * y).sum() == pytest.approx(0, abs=1e-2)
        assert (box[ring] * x).sum() == pytest.approx(0, abs=1e-2)


def test_a_particle_inside_the_circle_does_not_count() -> None:
    boxes = noise(1, 32, 32)
    with_particle = boxes.clone()
    with_particle[:, 10:22, 10:22] += 50
    background = Background.of_box(32, 12)
    ring = background.mask.bool()
    plain, treated = (normalise_boxes(subtract_plane(item, background), background) for item in (boxes, with_particle))
    assert torch.equal(plain[:, ring], treated[:, ring])


def test_a_constant_box_stays_finite() -> None:
    result = process_boxes(torch.full((2, 16, 16), 7.0), BoxRecipe(size=16, background_radius=6), torch.Generator())
    assert torch.isfinite(result).all()
    assert result.abs().max() < 1e-5


def test_dust_is_replaced_and_nothing_else() -> None:
    boxes = noise(2, 32, 32) + 10
    dusty = boxes.clone()
    dusty[0, 3, 4], dusty[1, 16, 16], dusty[1, 2, 2] = 90.0, -70.0, 80.0
    background = Background.of_box(32, 12)
    cleaned = remove_dust(dusty, background, 6, 6, torch.Generator().manual_seed(1))
    changed = (cleaned != dusty).nonzero().tolist()
    assert changed == [[0, 3, 4], [1, 2, 2], [1, 16, 16]]
    assert (cleaned - 10).abs().max() < 20
    again = remove_dust(dusty, background, 6, 6, torch.Generator().manual_seed(1))
    assert torch.equal(cleaned, again)
    only_white = remove_dust(dusty, background, 6, 0, torch.Generator())
    assert only_white[1, 16, 16] == -70.0


def test_inversion_and_leaving_pixels_as_they_are() -> None:
    image = noise(40, 40) + 1000
    centres = torch.tensor([[20, 20]])
    plain = next(extract_boxes(image, centres, 16, BoxRecipe(16, 6, normalise=False, invert=False)))
    assert torch.allclose(plain[0], image[12:28, 12:28], atol=1e-3)
    inverted = next(extract_boxes(image, centres, 16, BoxRecipe(16, 6, normalise=False)))
    assert torch.allclose(inverted, -plain)
    normal, negative = (next(extract_boxes(image, centres, 16, BoxRecipe(16, 6, invert=flag))) for flag in (False, True))
    assert torch.equal(normal, -negative)


def test_batches_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(64, 64)
    centres = torch.randint(0, 64, (11, 2), generator=torch.Generator().manual_seed(2))
    recipe = BoxRecipe(12, 4)
    whole = torch.cat(list(extract_boxes(image, centres, 24, recipe)))
    monkeypatch.setattr("magellon.algorithms.extraction.process._BATCH_PIXELS", 3 * 24 * 24)
    parts = list(extract_boxes(image, centres, 24, recipe))
    assert [len(part) for part in parts] == [3, 3, 3, 2]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("radius", [0, 9, -3])
def test_a_circle_that_does_not_fit_is_refused(radius: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Background.of_box(16, radius)


def test_growing_boxes_is_refused() -> None:
    with pytest.raises(ValueError, match="would grow"):
        next(extract_boxes(noise(32, 32), torch.tensor([[16, 16]]), 16, BoxRecipe(32, 12)))


def greedy(coordinates: np.ndarray, scores: np.ndarray, distance: float) -> list[bool]:
    dropped = [True] * len(coordinates)
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if all(np.hypot(*(coordinates[index] - coordinates[other])) >= distance for other in kept):
            kept.append(index)
            dropped[index] = False
    return dropped


@pytest.mark.parametrize("seed", range(5))
def test_duplicates_are_those_of_the_greedy_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    coordinates = rng.uniform(0, 100, (200, 2))
    scores = rng.integers(0, 20, 200).astype(float)
    assert find_duplicates(coordinates, scores, 9.0).tolist() == greedy(coordinates, scores, 9.0)


def test_no_distance_or_no_coordinates_means_no_duplicates() -> None:
    same = np.zeros((3, 2))
    assert not find_duplicates(same, np.zeros(3), 0).any()
    assert find_duplicates(same, np.zeros(3), 1e-3).tolist() == [False, True, True]
    assert find_duplicates(np.zeros((0, 2)), np.zeros(0), 5).shape == (0,)


def test_friendly_sizes() -> None:
    assert [friendly_size(minimum) for minimum in (1, 16, 17, 81, 128, 128.5, 300, 513)] == [16, 16, 20, 96, 128, 160, 320, 640]
    with pytest.raises(ValueError, match="no box"):
        friendly_size(1e9)
