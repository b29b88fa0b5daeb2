"""Holes that only the picture and the lattice know of."""

import numpy as np
import torch

from magellon.algorithms.targets.candidates import Candidates
from magellon.algorithms.targets.fill import HINT, fill_nodes
from magellon.algorithms.targets.gather import Calibration, Targets, arrange_targets

DIAMETER, PITCH, ROWS = 12.0, 24.0, 10


def draw_film(missing: np.ndarray, dark: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """Noisy film with bright holes, some darker than it, some not there; and the nodes."""
    i, j = np.meshgrid(np.arange(ROWS), np.arange(ROWS))
    nodes = np.stack([i.ravel(), j.ravel()], axis=1) * PITCH + PITCH
    side = int((ROWS + 1) * PITCH)
    y, x = np.mgrid[:side, :side]
    image = 100 + 5 * np.random.default_rng(1).standard_normal((side, side))
    for number, (across, down) in enumerate(nodes):
        step = 0 if missing[number] else -20 if dark[number] else 60
        image += step * (np.hypot(x - across, y - down) < DIAMETER / 2)
    return torch.from_numpy(image.astype(np.float32)), nodes


def arrange(nodes: np.ndarray, image: torch.Tensor) -> Targets:
    count = len(nodes)
    full = np.ones(count, np.float32)
    x, y = nodes.astype(np.float32).T
    seen = Candidates(x, y, np.float32(DIAMETER) * full, 0.9 * full, np.full((count, 4), 0.25, np.float32), 0 * full)
    return arrange_targets(seen, Calibration(on_lattice=4.0), 0.5, lambda targets: fill_nodes(image, targets))


def test_dark_holes_that_the_network_missed_are_found_and_missing_ones_are_not() -> None:
    rng = np.random.default_rng(2)
    dark = rng.random(ROWS**2) < 0.3
    missing = ~dark & (rng.random(ROWS**2) < 0.1)
    image, nodes = draw_film(missing, dark)
    targets = arrange(nodes[~dark & ~missing], image)
    found = {(round(float(x)), round(float(y))) for x, y in zip(targets.found.x, targets.found.y, strict=True)}
    assert found == {(round(x), round(y)) for x, y in nodes[~missing]}
    assert (targets.found.heat == np.float32(HINT)).sum() == dark.sum()


def test_bare_film_is_not_filled() -> None:
    missing = np.random.default_rng(3).random(ROWS**2) < 0.3
    image, nodes = draw_film(missing, np.zeros(ROWS**2, dtype=bool))
    assert len(arrange(nodes[~missing], image)) == (~missing).sum()


def test_a_picture_of_one_value_fills_nothing() -> None:
    missing = np.random.default_rng(4).random(ROWS**2) < 0.3
    image, nodes = draw_film(missing, np.zeros(ROWS**2, dtype=bool))
    assert len(arrange(nodes[~missing], torch.full_like(image, 7))) == (~missing).sum()
