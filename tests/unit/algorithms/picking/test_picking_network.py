"""The picking network and what surrounds it: view, targets, decoding, calibration."""

import numpy as np
import pytest
import torch

from magellon.algorithms.picking.decoding import Calibration, find_candidates, find_dirt
from magellon.algorithms.picking.evaluation import calibration_error, match_candidates, score_candidates
from magellon.algorithms.picking.learning import make_target, picker_loss
from magellon.algorithms.picking.network import PickerNet
from magellon.algorithms.picking.network_picks import (
    NetworkSettings,
    PickingNetwork,
    apply_network,
    check_view,
    pick_with_network,
)
from magellon.algorithms.picking.teaching import turn_lesson
from magellon.algorithms.picking.turning import turn, turn_output_back
from magellon.algorithms.picking.view import CELLS_PER_DIAMETER, View, make_view, normalise_view
from magellon.errors import BadInput

LINE = Calibration((-5.0, 0.0, 5.0), (0.0, 0.5, 1.0))


@pytest.mark.parametrize(("pixel_size", "diameter"), [(1.2, 180.0), (1.0, 37.0), (4.0, 40.0), (0.5, 90.0)])
def test_a_place_keeps_its_place_in_the_view(pixel_size: float, diameter: float) -> None:
    """A soft spot at a known pixel is found where `from_micrograph` says, whatever the reduction."""
    image = torch.zeros(400, 320)
    y, x = torch.arange(400.0)[:, None], torch.arange(320.0)[None, :]
    centre = (203.0, 131.0)
    image -= 5 * torch.exp(-((y - centre[1]) ** 2 + (x - centre[0]) ** 2) / (2 * (diameter / pixel_size / 5) ** 2))
    image += torch.randn(400, 320, generator=torch.Generator().manual_seed(1)) * 0.01
    view = make_view(image, pixel_size, diameter)
    expected = view.from_micrograph(torch.tensor([centre], dtype=torch.float64))[0]
    darkness = (-view.channels[0]).clamp(min=0)
    darkness = (darkness - 0.6 * darkness.max()).clamp(min=0)
    rows, columns = torch.arange(darkness.shape[0])[:, None], torch.arange(darkness.shape[1])[None, :]
    found = torch.stack([(darkness * rows).sum(), (darkness * columns).sum()]) / darkness.sum()
    assert torch.allclose(found.double(), expected, atol=0.35)
    back = view.to_micrograph(expected[None])[0]
    assert torch.allclose(back, torch.tensor(centre, dtype=torch.float64), atol=1e-9)
    wanted = 400 * pixel_size / diameter * CELLS_PER_DIAMETER
    assert view.channels.shape[1] == pytest.approx(wanted, rel=0.06)


def test_the_view_does_not_depend_on_units_or_dirt() -> None:
    image = torch.randn(128, 160, generator=torch.Generator().manual_seed(2))
    plain = normalise_view(image)
    assert torch.allclose(normalise_view(image * 37 + 1000), plain, atol=0.01)
    dirty = image.clone()
    dirty[:40, :40] -= 200
    far = normalise_view(dirty)[0, 90:, 90:]
    assert torch.allclose(far, plain[0, 90:, 90:], atol=0.15)


def place(output: torch.Tensor, y: float, x: float, logit: float = 4.0) -> None:
    """What a network says of a particle at (y, x) in output cells."""
    rows, columns = torch.arange(output.shape[1])[:, None], torch.arange(output.shape[2])[None, :]
    bump = torch.sigmoid(torch.tensor(logit)) * torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2)
    near = bump > torch.sigmoid(output[0])
    output[0] = torch.where(near, torch.logit(bump.clamp(1e-6, 1 - 1e-6)), output[0])
    output[1] = torch.where(near, y - rows, output[1])
    output[2] = torch.where(near, x - columns, output[2])


def test_centres_between_cells_are_found_at_their_place_and_height() -> None:
    output = torch.full((4, 40, 50), -8.0)
    places = [(8.0, 9.0), (20.5, 30.5), (31.3, 12.8), (20.5, 34.0)]
    for y, x in places:
        place(output, y, x)
    found = find_candidates(output, 0.4)
    assert len(found.logits) == 4
    cells = (found.positions + 0.5) / 2 - 0.5
    distance = torch.cdist(cells, torch.tensor(places, dtype=torch.float64))
    assert float(distance.min(dim=1).values.max()) < 0.05
    assert torch.allclose(found.logits, torch.full((4,), 4.0, dtype=torch.float64), atol=0.3)
    # Too near to each other: the better one stays.
    assert len(find_candidates(output, 0.5).logits) == 3


def test_the_target_is_what_decoding_reads() -> None:
    generator = torch.Generator().manual_seed(3)
    centres = torch.tensor([[20.3, 30.7], [50.0, 50.5], [70.2, 12.9]], dtype=torch.float64)
    target = make_target((96, 96), centres, torch.zeros(0, 2, dtype=torch.float64), torch.zeros(96, 96, dtype=torch.bool))
    output = torch.stack([torch.logit(target.bumps[0].clamp(1e-4, 0.999)), *target.offset[0], target.dirt[0] - 5])
    found = find_candidates(output, 0.5)
    assert float(torch.cdist(found.positions, centres).min(dim=1).values.max()) < 1e-5
    worse = output + torch.randn(output.shape, generator=generator)
    assert picker_loss(output[None], target) < picker_loss(worse[None], target)


def test_nothing_is_learned_about_the_doubtful() -> None:
    doubtful = torch.tensor([[40.0, 40.0]], dtype=torch.float64)
    target = make_target((96, 96), torch.tensor([[80.0, 80.0]], dtype=torch.float64), doubtful, None)
    assert target.counts[0, 20, 20] == 0
    assert target.counts[0, 40, 40] == 1
    assert target.counts[0, 5, 5] == 1
    assert float(target.dirt_known.sum()) == 0


@pytest.mark.parametrize("position", range(8))
def test_a_turned_lesson_says_the_same(position: int) -> None:
    view = torch.arange(2 * 32 * 32, dtype=torch.float32).reshape(2, 32, 32)
    centres = torch.tensor([[10.4, 21.2]], dtype=torch.float64)
    nothing = torch.zeros(0, 2, dtype=torch.float64)
    target = make_target((32, 32), centres, nothing, None)
    turned, moved = turn_lesson(view, target, position)
    y, x = centres[0].tolist()
    if position & 4:
        y, x = x, y
    y, x = (31 - y if position & 2 else y), (31 - x if position & 1 else x)
    expected = make_target((32, 32), torch.tensor([[y, x]], dtype=torch.float64), nothing, None)
    assert torch.allclose(moved.bumps, expected.bumps, atol=1e-6)
    assert torch.allclose(moved.offset, expected.offset, atol=1e-5)
    assert sorted(turned.flatten().tolist()) == view.flatten().tolist()


def test_dirt_is_grown_by_the_margin() -> None:
    output = torch.full((4, 60, 60), -5.0)
    output[3, 20:40, 20:40] = 5.0
    tight, wide = find_dirt(output, 0.0), find_dirt(output, 0.5)
    assert tight.sum() == pytest.approx(400, abs=60)
    assert bool(wide[30, 16] & ~tight[30, 16])
    output[3] = -5.0
    output[3, 30, 30] = 5.0
    assert not find_dirt(output, 0.5).any()
    # Likely dirt counts where it belongs to sure dirt, and not by itself.
    output[3] = -5.0
    output[3, 20:30, 20:40], output[3, 30:40, 20:40], output[3, 50:58, 20:40] = 5.0, 0.7, 0.7
    found = find_dirt(output, 0.0)
    assert bool(found[35, 30])
    assert not found[50:58].any()


def test_calibration_travels_through_metadata() -> None:
    assert Calibration.from_metadata(LINE.to_metadata()) == LINE
    values = LINE.apply(torch.tensor([-9.0, -5.0, 2.5, 9.0], dtype=torch.float64))
    assert values.tolist() == [0.0, 0.0, 0.75, 1.0]
    for wrong in ({}, {"calibration": "[]"}, {"calibration": '{"logits": [1, 0], "probabilities": [0, 1]}'}):
        with pytest.raises(BadInput):
            Calibration.from_metadata(wrong)


def test_scores_of_candidates() -> None:
    positions = torch.tensor([[10.0, 10.0], [10.0, 12.0], [50.0, 50.0], [80.0, 80.0]], dtype=torch.float64)
    centres = torch.tensor([[10.0, 11.0], [50.0, 53.0]], dtype=torch.float64)
    hits, sure = match_candidates(positions, centres, torch.tensor([[80.0, 81.0]], dtype=torch.float64))
    assert hits.tolist() == [True, False, True, False]
    assert sure.tolist() == [True, True, True, False]
    score = score_candidates(torch.tensor([0.9, 0.8, 0.7]), hits[sure], 2)
    assert score.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert (score.precision, score.recall) == (pytest.approx(2 / 3), 1.0)
    said = torch.full((1000,), 0.7)
    assert calibration_error(said, torch.arange(1000) < 700) == pytest.approx(0, abs=1e-6)
    assert calibration_error(said, torch.arange(1000) < 400) == pytest.approx(0.3, abs=1e-6)


def test_a_network_of_any_size_of_image_and_one_that_says_nothing() -> None:
    net = PickerNet().eval()
    image = torch.randn(301, 287, generator=torch.Generator().manual_seed(5))

    def run(view: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return net(view)

    peaks, usable = pick_with_network(image, 2.0, 90.0, PickingNetwork(run, LINE), NetworkSettings())
    assert len(peaks) == 0
    assert bool(usable.all())
    everything = NetworkSettings(threshold=0.0, border=0.0, separation=1.0)
    peaks, _ = pick_with_network(image, 2.0, 90.0, PickingNetwork(run, LINE), everything)
    assert (peaks.coordinates >= 0).all()
    assert (peaks.coordinates[:, 0] <= 286).all()


def test_a_diameter_far_too_small_is_refused() -> None:
    check_view((4096, 4096), 1.0, 60.0)
    with pytest.raises(BadInput, match="at least"):
        check_view((8000, 8000), 1.0, 20.0)


def test_particles_of_too_few_pixels_are_refused() -> None:
    check_view((512, 512), 40.0, 400.0)
    with pytest.raises(BadInput, match="4 pixels of 40 Å: the network needs 10"):
        check_view((512, 512), 40.0, 160.0)


def test_the_network_is_small() -> None:
    assert sum(np.prod(value.shape) for value in PickerNet().state_dict().values()) < 300_000


@pytest.mark.parametrize("position", range(8))
def test_a_turned_view_is_answered_where_it_was(position: int) -> None:
    """Of a network that points from each cell to the darkest place nearby, the answers agree in all positions."""
    view = torch.zeros(1, 2, 32, 48)
    view[0, 0, 8:10, 20:22] = -1.0

    def point(turned: torch.Tensor) -> torch.Tensor:
        cell = torch.nn.functional.avg_pool2d(-turned[0, 0][None], 2)[0]
        y, x = divmod(int(cell.argmax()), cell.shape[1])
        output = torch.zeros(1, 4, *cell.shape)
        output[0, 0], output[0, 3] = cell, 2 * cell
        output[0, 1] = y - torch.arange(cell.shape[0])[:, None]
        output[0, 2] = x - torch.arange(cell.shape[1])[None, :]
        return output

    assert torch.equal(turn_output_back(point(turn(view, position)), position), point(view))


def test_the_mean_over_turned_views_does_not_care_how_the_micrograph_lies() -> None:
    net = PickerNet()
    torch.nn.init.normal_(net.head[-1].weight, generator=torch.Generator().manual_seed(1))
    channels = torch.randn(2, 48, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        plain = apply_network(net, View(channels, (1.0, 1.0)))
        turned = apply_network(net, View(turn(channels, 5).contiguous(), (1.0, 1.0)))
    assert torch.allclose(turn_output_back(turned[None], 5)[0], plain, atol=1e-5)
