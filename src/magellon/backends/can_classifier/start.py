"""Present classes as the beginning of a run with more particles."""

import torch

from magellon.algorithms.classification.disc import take_coefficients
from magellon.algorithms.classification.records import Start
from magellon.backends.can_classifier.plan import Plan
from magellon.contracts import BadInput, Classes
from magellon.io.mrc import read_mrc
from magellon.io.star import read_star


def read_start(classes: Classes | None, plan: Plan) -> Start | None:
    """Present classes as references of this run, each at the resolution it had.

    Raises:
        BadInput: the averages cannot be read, or their boxes are of another width.
    """
    if classes is None:
        return None
    images = torch.from_numpy(read_mrc(classes.averages))
    images = images[None] if images.ndim == 2 else images
    disc, box = plan.disc, plan.box
    extent, own = box.size * box.pixel_size, images.shape[-1] * classes.pixel_size
    if images.shape[1] != images.shape[2] or abs(own / extent - 1) > 0.02:
        raise BadInput(
            f"{classes.averages}: averages {own:.0f} Å wide cannot start a classification of boxes {extent:.0f} Å wide"
        )
    resolutions = read_star(classes.table)["model_classes"].floats("rlnEstimatedResolution")
    if len(resolutions) != len(images):
        raise BadInput(f"{classes.table}: {len(resolutions)} classes, but {classes.averages} has {len(images)} images")
    inner = disc.inner(min(disc.radius, images.shape[-1] // 2 - 1))
    references = torch.zeros(len(images), len(disc.rows), dtype=torch.complex64, device=disc.rows.device)
    coefficients = take_coefficients(images.to(disc.rows.device), inner)
    references[:, : len(inner.rows)] = coefficients * (box.size / images.shape[-1])
    limits = torch.tensor([max(3, min(round(extent / value), inner.radius)) for value in resolutions])
    limits = limits.to(disc.rows.device)
    return Start(references * (disc.shells <= limits[:, None]), limits)
