"""Hole detection on simulated pictures that the network never saw: precision, recall, kinds, lattices, and time.

Measured on all 60 pictures: precision 0.999, recall 0.985 (good and empty holes 1.0, contaminated 0.97, thick ice 0.93),
kinds right 0.62, of those called good 0.54 are, the pitch right in all pictures with a lattice, places to 0.7 % of the
diameter; 0.31 s for 1024 x 1024 px, 0.56 CPU seconds, of which the network takes 0.32. What is missed are mostly holes of
11 px just as dark as the film. Kinds are weak, good and empty ones above all: where a picture has only one of them, nothing in
it tells which.

On the real pictures at hand (not part of the repository) overlays were looked at by eye. On five carbon pictures of 1024 px
every hole whose centre is in view is found, and once one whose centre is not; on overviews of a square in 512 px some 915 and
763 holes of 5 px along the lattice. On five close-ups the holes in full view are found, and some that the border cuts. Four
exposures within a hole get none. The hole with dirt in it is called contaminated on all five carbon pictures, the brightest
ones empty on some and good on others; on close-ups, where little can be compared, the same hole is called good on one picture
and empty on the next.
"""

from pathlib import Path

import numpy as np
import torch

from benchmarks.grid_targets import Picture, Task, run_task
from benchmarks.table import Row
from magellon.algorithms.targets.holes import FoundHoles, find_holes
from magellon.backends.ptolemy.networks import TargetNetwork
from magellon.simulation.grids import HOLE_KINDS, TargetMatch, draw_hole_scene, render_holes

SEED = 91
SHAPES = ((1024, 1024), (512, 512), (364, 512), (700, 960))
MANY = 12
"""Holes in view that let a lattice be asked for."""


def find(network: TargetNetwork, image: torch.Tensor) -> FoundHoles:
    """As the backend does, at the default threshold."""
    return find_holes(image, network, network.facts, network.calibration, model=network.model)


def draw(rng: np.random.Generator, shape: tuple[int, int], sizes: tuple[float, float]) -> Picture[FoundHoles]:
    """A square, or a part of one."""
    image, truth = render_holes(draw_hole_scene(rng, shape, sizes))

    def judge(found: FoundHoles, match: TargetMatch) -> dict[str, float]:
        if match.visible.sum() < MANY:
            return {"lattices right": float("nan")}
        return {"lattices right": float(found.lattice is not None and abs(found.lattice.pitch / truth.pitch - 1) < 0.03)}

    return Picture(image, truth.centres, 2 * truth.radius, truth.visible, truth.kind, judge)


def run(work: Path, quick: bool) -> list[Row]:
    """Pictures of several sizes, holes of 8 to 200 px."""
    task = Task("hole_detection", "holes", HOLE_KINDS, SEED, SHAPES, draw, (8, 200), (40, 60), find)
    return run_task(task, quick)
