"""Weights by frequency: found where they are known, applied, kept as text."""

import pytest
import torch

from magellon.algorithms.denoising.blend import RINGS, Blend, fit_blend
from magellon.errors import BadInput


def make_noise(seed: int, side: int = 96) -> torch.Tensor:
    return torch.randn(side, side, generator=torch.Generator().manual_seed(seed))


def test_nothing_changes_without_weights() -> None:
    predicted = make_noise(1)
    assert torch.allclose(Blend().mix(predicted, make_noise(2)), predicted, atol=1e-5)


def test_weights_act_on_their_frequencies() -> None:
    wave = torch.sin(2 * torch.pi * torch.arange(96) / 12)[None].repeat(96, 1)  # ring 3.5 of 24
    network = tuple(0.5 if ring in (3, 4) else 1.0 for ring in range(RINGS))
    image = tuple(0.25 if ring in (3, 4) else 0.0 for ring in range(RINGS))
    assert torch.allclose(Blend(network, image).mix(wave, 2 * wave), wave, atol=0.02)
    assert torch.allclose(Blend(network).mix(wave, wave), wave / 2, atol=0.02)


def test_the_best_weights_are_found() -> None:
    """Two measurements of one truth with noise of 1 and of 2: weights 1 / (1 + 1 + 1/4) and a quarter of it."""
    examples = []
    for seed in range(0, 60, 3):
        truth = make_noise(seed)
        examples.append((truth + make_noise(seed + 1), truth + 2 * make_noise(seed + 2), truth))
    blend = fit_blend(examples)
    assert blend.network[6:] == pytest.approx([1 / 2.25] * (RINGS - 6), abs=0.06)
    assert blend.image[6:] == pytest.approx([0.25 / 2.25] * (RINGS - 6), abs=0.06)


def test_it_is_kept_as_text() -> None:
    blend = Blend(tuple(ring / 10 for ring in range(RINGS)), (0.5,) * RINGS)
    assert Blend.from_text(blend.to_text()) == blend


@pytest.mark.parametrize("text", ["", "3", "{}", '{"network": [1], "image": [0]}', '{"network": "a", "image": [0]}'])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="weights by frequency"):
        Blend.from_text(text)
