from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from magellon.algorithms.picking import Templates, TemplateSettings, pick_templates, project_map
from magellon.algorithms.picking.correlation import correlate
from magellon.algorithms.picking.templates import crop_map, make_positive, measure_diameter, turn_templates
from magellon.errors import BadInput


def spot(size: int, *points: tuple[float, ...], width: float = 1.5) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(float(size))] * len(points[0]), indexing="ij")
    return sum(
        (torch.exp(-sum((a - p) ** 2 for a, p in zip(axes, point, strict=True)) / (2 * width**2)) for point in points),
        torch.zeros_like(axes[0]),
    )


def test_turning_follows_the_convention_for_psi() -> None:
    template = spot(32, (16.0, 22.0))[None]  # content at x = +6, y = 0
    turned = turn_templates(template, torch.tensor([0.0, 90.0]), 1.0, 24.0)[0]
    middle = turned.shape[-1] // 2
    y, x = divmod(int(turned[1].argmax()), turned.shape[-1])
    assert (y - middle, x - middle) == (-6, 0)  # (x, y) goes to (x cos - ..., -x sin psi): up, counter-clockwise
    y, x = divmod(int(turned[0].argmax()), turned.shape[-1])
    assert (y - middle, x - middle) == (0, 6)


def test_projections_keep_the_mass_and_the_middle() -> None:
    volume = spot(24, (12.0, 12.0, 12.0), width=2.0)
    views = project_map(volume, 5)
    assert views.shape == (5, 24, 24)
    for view in views:
        assert divmod(int(view.argmax()), 24) == (12, 12)
        assert float(view.sum()) == pytest.approx(float(volume.sum()), rel=0.02)


@pytest.mark.parametrize(("size", "small"), [(48, 24), (47, 24), (48, 25)])
def test_cropping_a_map_keeps_the_middle(size: int, small: int) -> None:
    volume = spot(size, (size // 2,) * 3, width=3.0)
    cropped = crop_map(volume, small)
    y = np.unravel_index(int(cropped.argmax()), cropped.shape)
    assert y == (small // 2,) * 3


def test_either_contrast_becomes_positive() -> None:
    template = spot(32, (16.0, 16.0), width=4.0)[None]
    assert torch.equal(make_positive(-template, 20.0), template)
    assert torch.equal(make_positive(template, 20.0), template)


def test_correlation_finds_place_kernel_and_signal_to_noise() -> None:
    template = (spot(33, (16.0, 21.0)) + spot(33, (11.0, 16.0)))[None]
    angles = torch.arange(0, 360, 30, dtype=torch.float64)
    kernels = turn_templates(template, angles, 1.0, 24.0)
    flat = torch.zeros(80, 96)
    used = kernels[0, 4]
    half = used.shape[-1] // 2
    flat[50 - half : 51 + half, 60 - half : 61 + half] -= used
    best, lowest, index = correlate(flat, kernels, 8.0, None)
    assert divmod(int(best.argmax()), 96) == (50, 60)
    assert int(index[50, 60]) == 4
    assert float(best.max()) == pytest.approx(float(torch.linalg.vector_norm(used)), rel=1e-3)
    assert float(lowest.min()) < 0


def test_picks_slender_particles_with_their_ctf(make_scenery: Callable[..., Any]) -> None:
    scenery = make_scenery("slender", 30, size=640, strength=0.8, seed=8)
    rng = np.random.default_rng(8)
    points = rng.uniform(-1, 1, (40000, 3))
    inside = points[:, 2] ** 2 + (points[:, 0] / 0.45) ** 2 + (points[:, 1] / 0.5) ** 2 < 1
    volume = torch.zeros(56, 56, 56)
    z, y, x = (torch.from_numpy(np.rint(axis * 75 / 4).astype(int)) + 28 for axis in points[inside].T[::-1])
    volume.index_put_((z, y, x), torch.ones(len(z)), accumulate=True)
    templates = Templates(project_map(volume, 6), 4.0)
    assert measure_diameter(templates.images, 4.0) == pytest.approx(150, rel=0.15)
    settings = TemplateSettings(angle_step=20.0)
    peaks = pick_templates(scenery.image, 2.0, 150.0, templates, settings, scenery.ctf)
    precision, recall, distance = scenery.match(peaks.coordinates)
    assert precision >= 0.95
    assert recall >= 0.9
    assert distance < 0.06
    assert peaks.angles is not None
    assert peaks.classes is not None
    assert int(peaks.classes.max()) < 6
    assert float(peaks.angles.max()) < 360


def test_an_empty_micrograph_gives_hardly_a_pick(make_scenery: Callable[..., Any]) -> None:
    scenery = make_scenery("ball", 0, size=512, seed=3)
    template = make_scenery("ball", 1, size=256).particle[None]
    settings = TemplateSettings(angle_step=60.0)
    assert len(pick_templates(scenery.image, 2.0, 150.0, Templates(template, 4.0), settings, scenery.ctf)) <= 1


@pytest.mark.parametrize(
    ("templates", "settings", "words"),
    [
        (Templates(torch.ones(2, 20, 24), 4.0), TemplateSettings(), "square"),
        (Templates(torch.ones(2, 20, 20), 4.0), TemplateSettings(), "less than the particle"),
        (Templates(torch.full((1, 60, 60), torch.nan), 4.0), TemplateSettings(), "NaN"),
        (Templates(torch.ones(1, 60, 60), 4.0), replace(TemplateSettings(), angle_step=0.1), "angle step"),
    ],
)
def test_says_what_is_wrong(templates: Templates, settings: TemplateSettings, words: str) -> None:
    image = torch.randn(256, 256, generator=torch.Generator().manual_seed(1))
    with pytest.raises(BadInput, match=words):
        pick_templates(image, 2.0, 150.0, templates, settings)
