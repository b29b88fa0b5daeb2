"""Small images of particles turned and moved to where they were found: rotation-normalised, weighted by their CTFs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.classification.disc import Disc, draw_images, image_size, take_coefficients
from magellon.algorithms.classification.particles import ParticleData, Poses
from magellon.algorithms.classification.preparation import Box
from magellon.algorithms.classification.rotation import turn_images


@dataclass(frozen=True)
class UprightImages:
    """Some particles (n,), low-passed."""

    images: Tensor
    """(n, size, size): c x / sigma² turned upright and moved to the centre."""
    transfer: Tensor
    """(n, shells + 1): c² / sigma²."""
    disc: Disc

    def average(self, weight: Tensor, signal: Tensor | None = None) -> Tensor:
        """Coefficients (..., d) of averages with weights (..., n), Wiener-filtered when the signal's power is given."""
        n, size = len(self.images), self.images.shape[-1]
        total = (weight @ self.images.reshape(n, -1)).reshape(*weight.shape[:-1], size, size)
        transfer = weight @ self.transfer
        if signal is not None:
            transfer = transfer + 1 / signal.clamp(min=1e-12)
        return take_coefficients(total, self.disc) / transfer[..., self.disc.shells].clamp(min=1e-12)

    def whitened(self) -> Tensor:
        """(n, size, size) images whose noise has the same variance in all shells, in the mean over the particles."""
        deviation = self.transfer.mean(0).clamp(min=1e-6).sqrt()
        return draw_images(
            take_coefficients(self.images, self.disc) / deviation[self.disc.shells], self.disc, self.images.shape[-1]
        )


def draw_upright(data: ParticleData, poses: Poses, index: Tensor, disc: Disc, box: Box) -> UprightImages:
    """Images of the particles `index`, low-passed to the disc."""
    batch = data.take(index, disc)
    size = image_size(disc.radius)
    device = batch.values.device
    images = draw_images(batch.values * disc.phases(poses.shift[index].to(device)), disc, size)
    upright = turn_images(images, -poses.psi[index]) * box.mask(device, size)
    return UprightImages(upright, batch.transfer, disc)


def split_images(images: Tensor) -> Tensor:
    """(n,) True for one side of the direction in which images (n, h, w) differ most: the sign of the first component."""
    flat = images.flatten(1)
    flat = flat - flat.mean(0)
    wide = len(flat) < flat.shape[1]
    _, vectors = torch.linalg.eigh((flat @ flat.T if wide else flat.T @ flat).double())
    first = vectors[:, -1].float()
    score = first if wide else flat @ first
    side: Tensor = score > score.median()
    return side
