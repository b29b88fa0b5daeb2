"""Square detection on simulated atlases that the network never saw: precision, recall, kinds, and time.

There is no real atlas at hand, so this is simulation only; a single square that fills a picture and is cut by it is not found.
"""

from pathlib import Path

import numpy as np
import torch

from benchmarks.cost import measure_call
from benchmarks.grid_targets import Found, summarise
from benchmarks.table import Row
from magellon.algorithms.targets.squares import FoundSquares, find_squares
from magellon.backends.ptolemy.networks import TargetNetwork, open_target_network
from magellon.simulation.grids import SQUARE_KINDS, draw_atlas_scene, match_targets, render_atlas

SEED = 92
THREADS = 2
SHAPES = ((1024, 1024), (512, 512), (600, 900))


def find(network: TargetNetwork, image: torch.Tensor) -> FoundSquares:
    """As the backend does, at the default threshold."""
    return find_squares(image, network, network.facts, network.calibration, model=network.model)


def run(work: Path, quick: bool) -> list[Row]:
    """Atlases of several sizes, squares of 12 to 200 px; the time is that of 1024 x 1024 on two threads."""
    network = open_target_network("squares", THREADS, "cpu")
    rng = np.random.default_rng(SEED)
    results, sides, count = [], [], 6 if quick else 60
    for number in range(count):
        shape = SHAPES[number % len(SHAPES)]
        image, truth = render_atlas(draw_atlas_scene(rng, shape, (12, min(200, shape[0] / 4))))
        found = find(network, torch.from_numpy(image))
        places = np.stack([found.x, found.y], axis=1)
        match = match_targets(places, truth.centres, truth.side, truth.visible, shape)
        said = np.array([SQUARE_KINDS.index(kind) for kind in found.kind], dtype=np.int64)
        results.append(Found(match, said, truth.kind))
        seen = match.true >= 0
        sides.append(np.abs(found.side[seen] / truth.side[match.true[seen]] - 1))
    accuracy = {**summarise(results, SQUARE_KINDS), "side error": float(np.median(np.concatenate(sides)))}
    large = torch.from_numpy(render_atlas(draw_atlas_scene(np.random.default_rng(SEED), (1024, 1024), (60, 80)))[0])
    find(network, large)
    runs = 2 if quick else 5
    _, cost = measure_call(lambda: [find(network, large) for _ in range(runs)])
    data = f"{count} atlases of 512-1024 px, squares of 12-200 px, seed {SEED}; time: 1024²"
    return [
        Row(
            "square_detection",
            "magellon ptolemy",
            data,
            1,
            cost.seconds / runs,
            cost.cpu_seconds / runs,
            None,
            accuracy,
            THREADS,
        )
    ]
