"""Particle extraction: coordinates become normalised boxes, in RELION's order.

Crop at the rounded coordinate, rescale by Fourier cropping, remove dust, subtract a plane, normalise to the background
outside a circle, invert. (Scheres 2012, doi:10.1016/j.jsb.2012.09.006.)
"""

from magellon.algorithms.extraction.boxes import BoxOutside, crop_boxes, find_outside, round_coordinates
from magellon.algorithms.extraction.duplicates import find_duplicates
from magellon.algorithms.extraction.normalise import Background, normalise_boxes, remove_dust, subtract_plane
from magellon.algorithms.extraction.process import BoxRecipe, extract_boxes, process_boxes
from magellon.algorithms.extraction.rescale import rescale_boxes
from magellon.algorithms.extraction.size import friendly_size

__all__ = [
    "Background",
    "BoxOutside",
    "BoxRecipe",
    "crop_boxes",
    "extract_boxes",
    "find_duplicates",
    "find_outside",
    "friendly_size",
    "normalise_boxes",
    "process_boxes",
    "remove_dust",
    "rescale_boxes",
    "round_coordinates",
    "subtract_plane",
]
