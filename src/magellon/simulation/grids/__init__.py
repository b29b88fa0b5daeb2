"""Pictures of grids with known truth: atlases with their squares, squares with their holes.

Everything is drawn from a seed: `draw_hole_scene(rng, shape)` chooses what there is, `render_holes(scene)` makes the picture
and its truth; `draw_atlas_scene` and `render_atlas` do the same for low magnification. Lengths in pixels.
"""

from magellon.simulation.grids.atlas import AtlasScene, draw_atlas_scene, render_atlas
from magellon.simulation.grids.camera import CameraSettings, draw_camera, record_image
from magellon.simulation.grids.holes import HoleScene, draw_hole_scene, render_holes
from magellon.simulation.grids.lattice import GridLattice
from magellon.simulation.grids.score import TargetMatch, match_targets
from magellon.simulation.grids.truth import HOLE_KINDS, SQUARE_KINDS, HoleTruth, SquareTruth

__all__ = [
    "HOLE_KINDS",
    "SQUARE_KINDS",
    "AtlasScene",
    "CameraSettings",
    "GridLattice",
    "HoleScene",
    "HoleTruth",
    "SquareTruth",
    "TargetMatch",
    "draw_atlas_scene",
    "draw_camera",
    "draw_hole_scene",
    "match_targets",
    "record_image",
    "render_atlas",
    "render_holes",
]
