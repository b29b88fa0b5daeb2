from collections.abc import Callable
from typing import Any

import torch

from magellon.algorithms.picking import mask_contamination, pick_dog
from magellon.algorithms.picking.mask import grow_mask, remove_small


def test_clean_ice_with_particles_is_left_alone(make_scenery: Callable[..., Any]) -> None:
    usable = mask_contamination(make_scenery("ball", 60).image, 2.0, 150.0)
    assert usable.float().mean() > 0.98


def test_a_crystal_is_left_out_and_what_lies_far_from_it_is_not(make_scenery: Callable[..., Any]) -> None:
    scenery = make_scenery("ball", 30, crystal=True)
    usable = mask_contamination(scenery.image, 2.0, 150.0)
    height, width = usable.shape
    x, y = (round((896 * part - 64) / 768 * side) for part, side in ((0.3, width), (0.35, height)))
    assert not usable[y - 2 : y + 3, x - 2 : x + 3].any()
    assert usable[height // 2 :, width // 2 :].float().mean() > 0.97
    peaks = pick_dog(scenery.image, 2.0, 150.0, usable=usable)
    away = torch.linalg.vector_norm(peaks.coordinates - torch.tensor([204.8, 249.6]), dim=1)
    assert (away > 85).all()


def test_carbon_is_left_out(make_scenery: Callable[..., Any]) -> None:
    usable = mask_contamination(make_scenery("ball", 30, carbon=True, seed=2).image, 2.0, 150.0)
    _, width = usable.shape
    assert usable[:, : width // 3].float().mean() > 0.97
    assert usable[:, -width // 12 :].float().mean() < 0.03


def test_grow_mask_reaches_as_far_as_its_radius() -> None:
    mask = torch.zeros(21, 31, dtype=torch.bool)
    mask[0, 15] = True
    grown = grow_mask(mask, 3.0)
    assert grown[3, 15]
    assert not grown[4, 15]
    assert not grown[-1].any()


def test_remove_small_keeps_edges_in_place() -> None:
    image = torch.zeros(40, 40)
    image[:, 20:] = -5.0
    spotted = image.clone()
    spotted[8:12, 8:12] = -9.0
    spotted[30:33, 30:33] = 9.0
    assert torch.equal(remove_small(spotted, 7), image)
