"""Calibration of the picking network: what its logits, and the likeness of candidates to each other, say about particles.

On fields never trained on, each of which counts as much as any other. A fifth of them have no particles, another fifth are
nothing but noise of some colour, as a micrograph of pure ice is.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.picking.decoding import CLEAR, Calibration, Found, evidence, find_candidates, find_dirt, signs
from magellon.algorithms.picking.evaluation import match_candidates
from magellon.algorithms.picking.likeness import Likeness, measure_likeness
from magellon.algorithms.picking.network import PickerNet
from magellon.algorithms.picking.network_picks import NetworkSettings, apply_network
from magellon.algorithms.picking.view import CELLS_PER_DIAMETER, View, make_view, normalise_view
from magellon.simulation.noise_colours import draw_colour, shape_noise
from magellon.simulation.picking_scenes import draw_scene

Array = NDArray[np.float64]
SIZE, GROUPS = 224, 40
"""Cells of a field's sides, and groups of candidates of like logits."""
BORDER = 6
"""Cells from the field's edge where candidates are not judged."""
FAINTEST = 0.4
"""Fainter fields than those of training: micrographs of small proteins are."""
FAINT = 0.4
"""Part of the fields that is surely faint."""
EVERY = 5
HELD = 0.05
"""Of a field's weight: how firmly weights of likeness are held at those that change nothing."""


@dataclass(frozen=True)
class Judged:
    """A field's candidates, which of them are particles, which can be judged, and whether it is nothing but noise."""

    view: View
    usable: torch.Tensor
    found: Found
    hits: torch.Tensor
    sure: torch.Tensor
    noise: bool


def calibrate(net: PickerNet, fields: int, seed: int) -> Calibration:
    """How often candidates of a logit are particles, whether there are any, and then how much more their likeness tells."""
    judged = [each for each in (judge_field(net, number, seed) for number in range(fields)) if len(each.found.logits)]
    calibration = _fit_logits([each for each in judged if not each.noise and bool(each.sure.any())])
    scores = [calibration.apply(each.found.logits) for each in judged]
    alike = [
        measure_likeness(each.view.channels[0], each.usable, each.found.positions, score)
        for each, score in zip(judged, scores, strict=True)
    ]
    asked = list(zip(judged, scores, alike, strict=True))
    rows = [signs(each.found.logits, score, like).numpy()[None] for each, score, like in asked]
    present = [np.array([float(bool(each.hits.any()))]) for each in judged]
    presence = _fit_weights(rows, present, np.zeros(rows[0].shape[1]))
    grown = [each for each in asked if not each[0].noise and bool(each[0].sure.any())]
    calibration = replace(calibration, presence=presence, responses=_fit_responses([(each, like) for each, _, like in grown]))
    shifted = [
        torch.sigmoid(torch.logit(score.clamp(1e-3, 1 - 1e-3)) + calibration.find_shift(score, like))
        for _, score, like in grown
    ]
    rows = [evidence(score, like)[each.sure].numpy() for (each, _, like), score in zip(grown, shifted, strict=True)]
    hits = [each.hits[each.sure].numpy().astype(np.float64) for each, _, _ in grown]
    start = np.eye(rows[0].shape[1])[0]
    return replace(calibration, likeness=_fit_weights(rows, hits, start))


def _fit_responses(asked: list[tuple[Judged, Likeness]]) -> tuple[float, float, float]:
    """Where candidates are alike, but not all clear: mean and spread of what are no particles, spread of particles."""
    asked = [(each, like) for each, like in asked if 1 < like.strength < CLEAR]
    others = torch.cat([like.response[each.sure & ~each.hits] for each, like in asked])
    particles = torch.cat([like.response[each.sure & each.hits] - like.strength for each, like in asked])
    return round(float(others.mean()), 4), round(float(others.std()), 4), round(float(particles.std()), 4)


def judge_field(net: PickerNet, number: int, seed: int) -> Judged:
    """The network's candidates on one field."""
    rng = np.random.default_rng([seed, 1 << 41, number])
    noise = number % EVERY == 1
    if noise:
        centres = doubtful = torch.zeros(0, 2, dtype=torch.float64)
        view = _draw_noise(rng)
    else:
        empty = 1.0 if number % EVERY == 0 else 0.0
        scene = draw_scene(rng, SIZE, FAINTEST, empty, sparse=0.5, faint=FAINT, crowds=False)
        centres, doubtful = torch.from_numpy(scene.centres), torch.from_numpy(scene.doubtful)
        view = View(normalise_view(torch.from_numpy(scene.image)), (1.0, 1.0))
    settings = NetworkSettings()
    with torch.no_grad():
        output = apply_network(net, view)
    usable = ~find_dirt(output, settings.margin or 0.0)
    found = find_candidates(output, settings.separation, usable)
    hits, sure = match_candidates(found.positions, centres, doubtful)
    sure &= ((found.positions > BORDER) & (found.positions < SIZE - 1 - BORDER)).all(dim=1)
    return Judged(view, usable, found, hits, sure, noise)


def _draw_noise(rng: np.random.Generator) -> View:
    """Noise of any colour, reduced as a micrograph is."""
    diameter = rng.uniform(20, 90)
    side = round(SIZE * diameter / CELLS_PER_DIAMETER)
    k_row, k_column = rfft_frequencies((side, side))
    cycles = torch.sqrt(k_row**2 + k_column**2) * diameter
    ctf = torch.sin(rng.uniform(0, 0.5) * cycles**2 * rng.uniform(0.02, 0.2))
    return make_view(shape_noise(rng, (side, side), draw_colour(rng, cycles, ctf)), 1.0, diameter)


def _fit_logits(judged: list[Judged]) -> Calibration:
    logits = np.concatenate([each.found.logits[each.sure].numpy() for each in judged])
    hits = np.concatenate([each.hits[each.sure].numpy() for each in judged])
    order = np.argsort(logits, kind="stable")
    x, y, weight = (each[order].astype(np.float64) for each in (logits, hits, _weigh(judged)))
    bounds = np.searchsorted(np.cumsum(weight), np.linspace(0, weight.sum(), GROUPS + 1)[1:-1])
    groups = [group for group in np.split(np.arange(len(x)), bounds) if len(group)]
    middle, rate = (np.array([np.average(each[group], weights=weight[group]) for group in groups]) for each in (x, y))
    rate = _make_rising(rate)
    keep = np.concatenate([[True], np.diff(middle) > 1e-3])
    return Calibration(tuple(np.round(middle[keep], 4).tolist()), tuple(np.round(rate[keep], 4).tolist()))


def _weigh(judged: list[Judged]) -> Array:
    """Of the candidates that can be judged: those of a field weigh 1 together."""
    counts = [int(each.sure.sum()) for each in judged]
    return np.concatenate([np.full(count, 1 / count) for count in counts])


def _make_rising(values: Array) -> Array:
    """The rising sequence nearest to values of equal weight (pool adjacent violators)."""
    blocks: list[list[float]] = []
    for value in values:
        blocks.append([float(value), 1.0])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (mean, count), (before, number) = blocks.pop(), blocks.pop()
            blocks.append([(mean * count + before * number) / (count + number), count + number])
    return np.concatenate([np.full(int(count), mean) for mean, count in blocks])


def _fit_weights(rows: list[Array], truth: list[Array], start: Array) -> tuple[float, ...]:
    """Logistic regression held near its start, the values of a field (n, m) counting as much as those of any other."""
    x, y = np.concatenate(rows), np.concatenate(truth)
    share = np.concatenate([np.full(len(row), 1 / max(1, len(row))) for row in rows])
    scale = np.sqrt(np.average(x**2, axis=0, weights=share)) + 1e-9
    x, start = x / scale, start * scale
    weights = start.copy()

    def loss(at: Array) -> float:
        logit = x @ at
        return float((share * (np.logaddexp(0, logit) - y * logit)).sum() + HELD * ((at - start) ** 2).sum() / 2)

    for _ in range(30):  # Newton, no farther than it leads down
        rate = special.expit(x @ weights)
        gradient = x.T @ (share * (rate - y)) + HELD * (weights - start)
        curvature = (x * (share * rate * (1 - rate))[:, None]).T @ x + HELD * np.eye(x.shape[1])
        step = np.linalg.solve(curvature, gradient)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step /= 2
        weights = weights - step
    return tuple(np.round(weights / scale, 5).tolist())
