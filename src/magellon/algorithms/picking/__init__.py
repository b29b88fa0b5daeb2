"""Particle picking: from a micrograph to coordinates with scores.

`pick_dog` needs no reference, `pick_templates` does; `propose_diameter` and `mask_contamination` serve both.
"""

from magellon.algorithms.picking.blobs import pick_dog
from magellon.algorithms.picking.diameter import DiameterProposal, propose_diameter
from magellon.algorithms.picking.mask import mask_contamination
from magellon.algorithms.picking.peaks import Peaks

__all__ = ["DiameterProposal", "Peaks", "mask_contamination", "pick_dog", "propose_diameter"]
