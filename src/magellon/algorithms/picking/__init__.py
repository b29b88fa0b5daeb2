"""Particle picking: from a micrograph to coordinates with scores.

`pick_dog` needs no reference, `pick_templates` does; `propose_diameter` and `mask_contamination` serve both.
"""

from magellon.algorithms.picking.blobs import DogSettings, pick_dog
from magellon.algorithms.picking.correlation import Templates, TemplateSettings, pick_templates
from magellon.algorithms.picking.diameter import DiameterProposal, propose_diameter
from magellon.algorithms.picking.mask import mask_contamination
from magellon.algorithms.picking.peaks import Peaks
from magellon.algorithms.picking.templates import project_map

__all__ = [
    "DiameterProposal",
    "DogSettings",
    "Peaks",
    "TemplateSettings",
    "Templates",
    "mask_contamination",
    "pick_dog",
    "pick_templates",
    "project_map",
    "propose_diameter",
]
