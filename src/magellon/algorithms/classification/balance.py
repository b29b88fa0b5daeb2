"""What keeps a class from swallowing the others while classes form: a prior against those beyond their share.

A class that took many particles has a reference known better than others, fits strangers better and takes more: tempered, one
can end with nearly all. The prior is the multiplier of the bound on its particles, found by dual ascent, one step a round; so
classes are kept apart as equal-size groups are by entropic transport (Cuturi 2013, NIPS 26), but free below the bound.
"""

import torch
from torch import Tensor

from magellon.algorithms.classification.rounds import Model


def balance_classes(model: Model, occupancy: Tensor, temperature: float, most: float | None) -> None:
    """Set the priors of the next round from the particles of this one.

    Args:
        occupancy: (K,) particles, by probability.
        temperature: by which log-likelihoods, and so priors, are divided.
        most: equal shares a class may have; None: no bound, no priors.
    """
    alive = torch.isfinite(model.log_prior)
    if most is None:
        model.log_prior[alive] = 0
        return
    share = occupancy.sum().clamp(min=1e-9) / alive.sum().clamp(min=1)
    # Tempered by T, a prior lower by T makes a class smaller by a factor of e, as long as it competes with others.
    excess = temperature * torch.log((occupancy / (most * share)).clamp(min=1e-3))
    model.log_prior[alive] = (model.log_prior - excess)[alive].clamp(max=0)
