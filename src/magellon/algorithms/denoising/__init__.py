"""Denoising micrographs with a small network, at the scale at which particles are seen."""

from magellon.algorithms.denoising.blend import Blend
from magellon.algorithms.denoising.denoise import COARSEST, SMALLEST_SIDE, denoise_image
from magellon.algorithms.denoising.noise import Level, measure_level
from magellon.algorithms.denoising.scale import PIXEL_SIZE
from magellon.algorithms.denoising.thon import ThonRings, find_rings
from magellon.algorithms.denoising.tiles import run_in_tiles

__all__ = [
    "COARSEST",
    "PIXEL_SIZE",
    "SMALLEST_SIDE",
    "Blend",
    "Level",
    "ThonRings",
    "denoise_image",
    "find_rings",
    "measure_level",
    "run_in_tiles",
]
