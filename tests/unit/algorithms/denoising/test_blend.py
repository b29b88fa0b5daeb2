"""Weights by frequency: found where they are known, applied, kept as text."""

import pytest
import torch

from magellon.algorithms.denoising.blend import FAINT, RINGS, Blend, fit_beyond, fit_blend
from magellon.algorithms.denoising.gate import pick_detail
from magellon.errors import BadInput


def make_noise(seed: int, side: int = 96) -> torch.Tensor:
    return torch.randn(side, side, generator=torch.Generator().manual_seed(seed))


def test_nothing_but_the_corners_changes_without_weights() -> None:
    predicted = make_noise(1)
    k = torch.hypot(torch.fft.fftfreq(96)[:, None], torch.fft.rfftfreq(96))
    inside = torch.fft.irfft2(torch.fft.rfft2(predicted) * (k < 0.5), s=predicted.shape)
    assert torch.allclose(Blend().mix(predicted, make_noise(2), make_noise(3)), inside, atol=1e-5)
    passing = 0.5 * torch.ones_like(k)
    assert torch.allclose(Blend().mix(predicted, make_noise(2), make_noise(3), passing), inside / 2, atol=1e-5)


def test_weights_act_on_their_frequencies() -> None:
    wave = torch.sin(2 * torch.pi * torch.arange(96) / 12)[None].repeat(96, 1)  # ring 3.5 of 24
    network = tuple(0.5 if ring in (3, 4) else 1.0 for ring in range(RINGS))
    image = tuple(0.25 if ring in (3, 4) else 0.0 for ring in range(RINGS))
    assert torch.allclose(Blend(network, image).mix(wave, 2 * wave, 0 * wave), wave, atol=0.02)
    local, whole = Blend((0.0,) * RINGS, local=image), torch.ones_like(wave)
    assert torch.allclose(local.mix(wave, wave, whole), 0.25 * pick_detail(wave, whole), atol=0.02)
    assert not local.mix(wave, wave, torch.zeros_like(wave)).any()
    assert torch.allclose(Blend(network).mix(wave, wave, 0 * wave), wave / 2, atol=0.02)


def test_the_best_weights_are_found() -> None:
    """Two measurements of one truth with noise of 1 and of 2: weights 1 / (1 + 1 + 1/4) and a quarter of it."""
    examples = []
    for seed in range(0, 60, 3):
        truth = make_noise(seed)
        examples.append((truth + make_noise(seed + 1), truth + 2 * make_noise(seed + 2), truth))
    blend = fit_blend(examples)
    assert blend.network[6:] == pytest.approx([1 / 2.25] * (RINGS - 6), abs=0.06)
    # The gate is open everywhere, so that image and detail are one.
    both = [image + local for image, local in zip(blend.image, blend.local, strict=True)]
    assert both[6:] == pytest.approx([0.25 / 2.25] * (RINGS - 6), abs=0.06)
    assert blend.beyond == (FAINT, 0.0)


def test_detail_is_found_to_be_worth_more_where_the_gate_is_open() -> None:
    gate = torch.zeros(96, 96)
    gate[:, :48] = 1
    examples = []
    for seed in range(0, 15, 3):
        truth = gate * make_noise(seed)
        examples.append((gate, truth + 2 * make_noise(seed + 1), truth))
    plain, gated = fit_beyond(examples)
    assert plain == pytest.approx(1 / (1 + 8), abs=0.01), "half the field has a signal of 1, the whole one noise of 4"
    assert plain + gated == pytest.approx(1 / 5, abs=0.01)
    strange = (gate, make_noise(99), make_noise(99))
    assert fit_beyond([*examples, strange]) == pytest.approx((plain, gated), abs=0.01), "one crystal does not decide"


def test_it_is_kept_as_text() -> None:
    blend = Blend(tuple(ring / 10 for ring in range(RINGS)), (0.5,) * RINGS, (0.25,) * RINGS, (0.01, 0.04))
    assert Blend.from_text(blend.to_text()) == blend
    older = f'{{"network": {list(blend.network)}, "image": {list(blend.image)}}}'
    assert Blend.from_text(older) == Blend(blend.network, blend.image), "a file of an earlier version"


@pytest.mark.parametrize("text", ["", "3", "{}", '{"network": [1], "image": [0]}', '{"network": "a", "image": [0]}'])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="weights by frequency"):
        Blend.from_text(text)
