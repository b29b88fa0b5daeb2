"""Hole detection on simulated pictures that the network never saw: precision, recall, kinds, lattices, and time.

Measured on all 60 pictures: precision 0.998, recall 0.935 (good and empty holes 1.0, contaminated 0.93, thick ice 0.69), kinds
right 0.64, the pitch right in 0.98 of the pictures with a lattice, places to 0.7 % of the diameter; 0.41 s for 1024 x 1024 px
on two busy cores, 0.72 CPU seconds, of which the network takes 0.31. What is missed are mostly holes of 8 px with ice as dark
as the film.

On the real pictures at hand (not part of the repository) overlays were looked at by eye. On five carbon pictures of 1024 px
every hole whose centre is in view is found, thick, thin and half covered ones too, and nothing else; so it is on three noisy
pictures of 512 px with two to four holes, dendrites and dirt. On two overviews of a square in 512 px with some 800 and 650
holes of 5 px the lattice is right and nearly all holes are found; holes under the largest contamination are left out. On
five close-ups of 512 px the holes in full view are found, and few of those that the border cuts; four exposures within a
hole, where there is nothing to find, give nothing. Kinds are less sure: bright good holes are often called empty.
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
