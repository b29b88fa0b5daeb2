"""Hole detection on simulated pictures that the network never saw: precision, recall, kinds, lattices, and time.

On the real pictures at hand (not part of the repository) overlays were looked at by eye. On five carbon pictures
of 1024 px every hole whose centre is in view is found, thick, thin and half covered ones too, and nothing else; on an
overview of a square in 512 px with some 800 holes of 5 px the lattice is right and most holes are found; on
close-ups of one to three holes what is marked is a hole, but some that are in full view are missed.
"""

from pathlib import Path

import numpy as np
import torch

from benchmarks.cost import measure_call
from benchmarks.grid_targets import Found, summarise
from benchmarks.table import Row
from magellon.algorithms.targets.holes import FoundHoles, find_holes
from magellon.backends.ptolemy.networks import TargetNetwork, open_target_network
from magellon.simulation.grids import HOLE_KINDS, draw_hole_scene, match_targets, render_holes

SEED = 91
THREADS = 2
SHAPES = ((1024, 1024), (512, 512), (364, 512), (700, 960))


def find(network: TargetNetwork, image: torch.Tensor) -> FoundHoles:
    """As the backend does, at the default threshold."""
    return find_holes(image, network, network.facts, network.calibration, model=network.model)


def run(work: Path, quick: bool) -> list[Row]:
    """Pictures of several sizes, holes of 8 to 200 px; the time is that of 1024 x 1024 on two threads."""
    network = open_target_network("holes", THREADS, "cpu")
    rng = np.random.default_rng(SEED)
    results, pitches, count = [], [], 6 if quick else 60
    for number in range(count):
        shape = SHAPES[number % len(SHAPES)]
        image, truth = render_holes(draw_hole_scene(rng, shape, (8, min(200, shape[0] / 4))))
        found = find(network, torch.from_numpy(image))
        places = np.stack([found.x, found.y], axis=1)
        match = match_targets(places, truth.centres, 2 * truth.radius, truth.visible, shape)
        said = np.array([HOLE_KINDS.index(kind) for kind in found.kind], dtype=np.int64)
        results.append(Found(match, said, truth.kind))
        if truth.visible.sum() >= 12:
            pitches.append(found.lattice is not None and abs(found.lattice.pitch / truth.pitch - 1) < 0.03)
    accuracy = {**summarise(results, HOLE_KINDS), "lattices right": float(np.mean(pitches))}
    large = torch.from_numpy(render_holes(draw_hole_scene(np.random.default_rng(SEED), (1024, 1024), (40, 60)))[0])
    find(network, large)
    runs = 2 if quick else 5
    _, cost = measure_call(lambda: [find(network, large) for _ in range(runs)])
    data = f"{count} pictures of 364-1024 px, holes of 8-200 px, seed {SEED}; time: 1024²"
    return [
        Row(
            "hole_detection", "magellon ptolemy", data, 1, cost.seconds / runs, cost.cpu_seconds / runs, None, accuracy, THREADS
        )
    ]
