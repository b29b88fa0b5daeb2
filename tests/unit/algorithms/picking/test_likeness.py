"""Likeness: particles too faint to be sure of are told by what the others look like, and noise is not like itself."""

from dataclasses import replace

import pytest
import torch

from magellon.algorithms.picking.decoding import EVIDENCE, SIGNS, Calibration
from magellon.algorithms.picking.field import smooth
from magellon.algorithms.picking.likeness import SUPPOSED, Likeness, measure_likeness, suppose, whiten
from magellon.errors import BadInput

LINE = Calibration((-5.0, 0.0, 5.0), (0.0, 0.5, 1.0))
SIDE = 256


def draw(seed: int, height: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise in which 64 rings are hidden, at places between cells: their image has `height` standard deviations a cell."""
    generator = torch.Generator().manual_seed(seed)
    line = 20.0 + 28.0 * torch.arange(8, dtype=torch.float64)
    places = torch.cartesian_prod(line, line) + torch.rand(64, 2, generator=generator, dtype=torch.float64)
    y, x = torch.arange(SIDE)[:, None], torch.arange(SIDE)[None, :]
    image = torch.randn(SIDE, SIDE, generator=generator)
    for row, column in places.tolist():
        radius = torch.sqrt((y - row) ** 2 + (x - column) ** 2)
        image -= height * torch.exp(-((radius - 5) ** 2) / 4)
    return image, places


def everywhere() -> torch.Tensor:
    return torch.ones(SIDE // 2, SIDE // 2, dtype=torch.bool)


def test_faint_particles_are_like_each_other_and_noise_is_not() -> None:
    image, places = draw(1, 0.5)
    empty = places + 14.0
    candidates = torch.cat([places, empty])
    # Nothing is known but that a few particles more than noise are among the likely ones.
    said = torch.cat([torch.full((64,), 0.6), torch.full((64,), 0.3)])
    found = measure_likeness(image, everywhere(), candidates, said)
    particles, noise = found.response[:64], found.response[64:]
    assert float(particles.median()) > 3
    assert float((particles[:, None] > noise[None]).double().mean()) > 0.99
    assert 2 < found.strength < float(particles.mean()) + 1


def test_particles_that_are_all_doubted_are_still_like_each_other() -> None:
    """A network that is wrong about a whole micrograph says of none that it is a particle, but ranks them."""
    image, places = draw(8, 0.6)
    candidates = torch.cat([places, places + 14.0])
    said = torch.cat([torch.full((64,), 0.02), torch.full((64,), 0.005)])
    found = measure_likeness(image, everywhere(), candidates, said)
    assert float((found.response[:64, None] > found.response[None, 64:]).double().mean()) > 0.98
    assert found.strength > 3


@pytest.mark.parametrize("height", [3.0, 8.0])
def test_a_few_dense_things_are_not_what_particles_are_compared_with(height: float) -> None:
    """Large foreign proteins, of which the network is surest, change next to nothing of what is said of the others."""
    image, places = draw(9, 0.6)
    candidates = torch.cat([places, places + 14.0])
    said = torch.cat([torch.full((64,), 0.3), torch.full((64,), 0.05)])
    plain = measure_likeness(image, everywhere(), candidates, said)
    y, x = torch.arange(SIDE)[:, None], torch.arange(SIDE)[None, :]
    for row, column in candidates[:3].tolist():
        image = image - height * (torch.hypot(y - row, x - column) < 9)
    said[:3] = 0.999
    found = measure_likeness(image, everywhere(), candidates, said)
    assert found.strength == pytest.approx(plain.strength, rel=0.2)
    assert float((found.response[3:64, None] > found.response[None, 64:]).double().mean()) > 0.97
    assert float(found.response[:3].min()) > found.strength


def test_what_is_supposed_keeps_the_order_and_takes_nothing_from_the_sure() -> None:
    doubted = torch.linspace(0.002, 0.1, 100, dtype=torch.float64)
    raised = suppose(doubted)
    assert float(raised.sum()) == pytest.approx(SUPPOSED, abs=2)
    assert (raised.diff() > 0).all()
    assert float(suppose(doubted[:10]).sum()) == pytest.approx(5, abs=0.5)
    sure = torch.linspace(0.1, 0.9, 60, dtype=torch.float64)
    assert torch.allclose(suppose(sure), sure)
    assert len(suppose(sure[:0])) == 0


@pytest.mark.parametrize("said", [0.9, 0.02])
def test_noise_is_not_like_itself(said: float) -> None:
    image = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    places = torch.rand(20, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 220 + 16
    found = measure_likeness(image, everywhere(), places, torch.full((20,), said))
    assert abs(float(found.response.mean())) < 0.7
    assert abs(found.strength) < 0.7


def test_too_few_say_nothing() -> None:
    image, places = draw(4, 1.0)
    for said in (torch.full((2,), 0.9), torch.full((3,), 0.05)):
        found = measure_likeness(image, everywhere(), places[: len(said)], said)
        assert found.strength == 0
        assert found.response.tolist() == [0.0] * len(said)
    assert len(measure_likeness(image, everywhere(), torch.zeros(0, 2), torch.zeros(0)).response) == 0


def test_a_small_picture_and_one_without_noise_are_no_error() -> None:
    places = torch.full((3, 2), 8.0, dtype=torch.float64)
    for image in (torch.randn(16, 20, generator=torch.Generator().manual_seed(5)), torch.zeros(40, 16)):
        found = measure_likeness(image, torch.ones(8, 8, dtype=torch.bool), places, torch.full((3,), 0.9))
        assert bool(torch.isfinite(found.response).all())


def test_whitened_noise_is_white() -> None:
    coloured = 3 * smooth(torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(6)), 0.5)
    power = torch.fft.rfft2(whiten(coloured, torch.ones_like(coloured))).abs().square()
    before = torch.fft.rfft2(coloured).abs().square()
    # Divided by its power once, not by the root of it: the product with a signal is to be its likelihood.
    slow, fast = (slice(20, 40), slice(20, 40)), (slice(60, 80), slice(60, 80))
    ratio = float((power[slow] * before[slow]).mean() / (power[fast] * before[fast]).mean())
    assert ratio == pytest.approx(1.0, abs=0.25)


def test_likeness_moves_probabilities_and_travels_with_the_calibration() -> None:
    logits, said = torch.full((3,), -2.0, dtype=torch.float64), torch.full((3,), 0.3, dtype=torch.float64)
    likeness = Likeness(torch.tensor([-1.0, 2.0, 5.0], dtype=torch.float64), 5.0)
    assert torch.allclose(LINE.refine(logits, likeness), LINE.apply(logits))
    asking = replace(LINE, likeness=(1.0, 0.0, 0.0, 0.5, 0.0, -0.25), presence=(3.0, 0.0, 0.0, 0.0))
    refined = asking.refine(logits, likeness)
    assert (refined.diff() > 0).all()
    assert float(refined[0]) < 0.1
    assert float(refined[2]) > 0.9
    assert Calibration.from_metadata(asking.to_metadata()) == asking
    assert len(asking.refine(logits[:0], Likeness(said[:0], 0.0))) == 0
    for wrong in (replace(LINE, likeness=(1.0, 2.0)), replace(LINE, presence=(1.0,))):
        with pytest.raises(BadInput, match=f"not {EVIDENCE} and {SIGNS}"):
            Calibration.from_metadata(wrong.to_metadata())
    for numbers in ((1.8, 1.3), (1.8, 0.0, 1.2)):
        with pytest.raises(BadInput, match="a mean and two widths"):
            Calibration.from_metadata(replace(LINE, responses=numbers).to_metadata())


def test_candidates_that_are_not_alike_are_no_particles() -> None:
    """Unless the network is sure of them: few particles have no mean to be like."""
    asking = replace(LINE, likeness=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0), presence=(-1.0, 2.0, -4.0, 1.0))

    def ask(logit: float, strength: float, count: int = 60) -> float:
        logits = torch.full((count,), logit, dtype=torch.float64)
        return float(asking.refine(logits, Likeness(torch.zeros(count, dtype=torch.float64), strength))[0])

    assert ask(0.5, 2.0) < 0.15
    assert ask(0.5, 5.0) > 0.3
    assert ask(3.0, 2.0) > 0.4
    assert ask(0.5, 2.0, count=4) > ask(0.5, 2.0)


@pytest.mark.parametrize("wrong", [-3.0, -1.5, 0.0])
def test_a_network_that_is_wrong_about_a_whole_micrograph_is_set_right(wrong: float) -> None:
    """Half of the candidates are particles, of strength 5; the network ranks them, but all its log odds are off."""
    generator = torch.Generator().manual_seed(7)
    particle = torch.arange(200) < 100
    odds = torch.where(particle, 1.5, -1.5) + torch.randn(200, generator=generator) + wrong
    response = torch.where(particle, 5.0, 1.8) + 1.2 * torch.randn(200, generator=generator)
    likeness = Likeness(response.to(torch.float64), 5.0)
    knowing = replace(LINE, responses=(1.8, 1.2, 1.2))
    said = torch.sigmoid(odds.to(torch.float64))
    assert knowing.find_shift(said, likeness) == pytest.approx(-wrong, abs=0.5)
    assert LINE.find_shift(said, likeness) == 0
    assert knowing.find_shift(said[:0], Likeness(response[:0].to(torch.float64), 0.0)) == 0


def test_what_lies_on_a_line_is_like_the_others_for_nothing() -> None:
    """A network in doubt of all candidates alike is set right, but not for these."""
    logits = torch.full((40,), -3.0, dtype=torch.float64)
    lined = torch.arange(40) < 10
    knowing = replace(LINE, responses=(1.8, 1.2, 1.2))
    likeness = Likeness(torch.full((40,), 5.0, dtype=torch.float64), 5.0)
    assert float(knowing.refine(logits, likeness).min()) > 0.6
    refined = knowing.refine(logits, replace(likeness, lined=lined))
    assert torch.allclose(refined[lined], knowing.apply(logits)[lined])
    assert float(refined[~lined].min()) > 0.6
    # What counts against them does so all the same.
    doubting = replace(LINE, likeness=(1.0, -5.0, 0.0, 0.0, 0.0, 0.0))
    assert float(doubting.refine(logits, replace(likeness, lined=lined)).max()) < 0.01
