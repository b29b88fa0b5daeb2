"""Targets from candidates: what a lattice says for them and against them."""

from dataclasses import replace

import numpy as np
import pytest

from magellon.algorithms.targets.candidates import Candidates
from magellon.algorithms.targets.gather import Calibration, Targets, arrange_targets, settle_places

SIZE, PITCH = 20.0, 40.0


def make_candidates(places: np.ndarray, heat: float) -> Candidates:
    count = len(places)
    x, y = places.astype(np.float32).T
    kinds = np.full((count, 4), 0.25, np.float32)
    full = np.ones(count, np.float32)
    return Candidates(x, y, SIZE * full, heat * full, kinds, 0 * full)


def make_nodes(rows: int) -> np.ndarray:
    i, j = np.meshgrid(np.arange(rows), np.arange(rows))
    return np.stack([i.ravel(), j.ravel()], axis=1) * PITCH + PITCH


def arrange(*parts: Candidates) -> Targets:
    together = Candidates(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Candidates.__dataclass_fields__)
    )
    return arrange_targets(together, Calibration(), 0.5)


def test_faint_things_on_a_lattice_are_targets() -> None:
    targets = arrange(make_candidates(make_nodes(6), 0.25))
    assert len(targets) == 36
    assert targets.solid
    assert targets.lattice is not None
    assert targets.lattice.pitch == pytest.approx(PITCH, rel=1e-3)


def test_faint_things_anywhere_are_none() -> None:
    places = np.random.default_rng(3).uniform(0, 500, (36, 2))
    targets = arrange(make_candidates(places, 0.1))
    assert not targets.solid
    assert len(targets) == 0


def test_the_lattice_lifts_weak_targets_and_rejects_strays() -> None:
    nodes = make_nodes(6)
    weak = np.arange(36) % 7 == 0
    stray = np.array([[2.5 * PITCH, 2.5 * PITCH]])
    targets = arrange(make_candidates(nodes[~weak], 0.9), make_candidates(nodes[weak], 0.2), make_candidates(stray, 0.6))
    assert len(targets) == 36
    assert targets.placed.all()
    assert targets.score[: (~weak).sum()].min() > targets.score[-weak.sum() :].max()


def test_a_centre_far_off_its_node_is_put_on_it() -> None:
    targets = arrange(make_candidates(make_nodes(6), 0.9))
    x = targets.found.x.copy()
    x[5] += 0.15 * PITCH
    moved = replace(targets, found=replace(targets.found, x=x))
    assert abs(settle_places(moved).found.x[5] - targets.found.x[5]) < 0.03 * PITCH
