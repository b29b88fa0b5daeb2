"""CAN: a convolutional autoencoder that learns, from the particles of a run, what makes their views differ.

A network with a narrow middle cannot reproduce noise, which no two particles share: what it keeps of an image is what many
images have in common. It sees particles turned upright, low-passed and weighted by their CTFs so that noise is white, as
otherwise it would spend its few numbers on rotation, defocus and background. (Hinton & Salakhutdinov 2006, Science 313, 504.)

The best that a linear autoencoder can do is known: principal components (Baldi & Hornik 1989, Neural Networks 2, 53). So it
begins there, and its convolutions learn what to add. From random numbers, a few thousand images that are nearly all noise do
not bring it as far.
"""

import torch
from torch import Tensor, nn

_BATCH = 64
_EPOCHS = 3
_FEWEST, _MOST = 30, 100
"""Gradient steps."""
_RATE = 3e-3
_LATENT = 16
_FAINT = 0.1
"""Size of the weights of the decoder's last layer at first, in usual ones."""


class Autoencoder(nn.Module):
    """Images (n, 1, side, side), side a multiple of 8, to a few numbers and back: linearly, and what convolutions add to it."""

    directions: Tensor
    """(side², latent): the principal components."""

    def __init__(self, directions: Tensor) -> None:
        super().__init__()
        pixels, latent = directions.shape
        side = round(pixels**0.5)
        small = side // 8
        self.register_buffer("directions", directions)
        self.side = side
        to_code = nn.Linear(32 * small * small, latent)
        to_image = nn.ConvTranspose2d(8, 1, 4, 2, 1)
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, 1), nn.SiLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.SiLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.SiLU(),
            nn.Flatten(), to_code,
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(latent, 32 * small * small), nn.SiLU(), nn.Unflatten(1, (32, small, small)),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.SiLU(),
            to_image,
        )  # fmt: skip
        self.to_code, self.to_image = to_code, to_image

    def encode(self, images: Tensor) -> Tensor:
        """(n, latent)"""
        codes: Tensor = images.flatten(1) @ self.directions + self.encoder(images)
        return codes

    def forward(self, images: Tensor) -> Tensor:
        codes = self.encode(images)
        linear = (codes @ self.directions.T).reshape(-1, 1, self.side, self.side)
        restored: Tensor = linear + self.decoder(codes)
        return restored


def embed_images(images: Tensor, generator: torch.Generator) -> Tensor:
    """Train on images (n, h, w) of about white noise and return their codes (n, latent).

    The weights begin with numbers of the generator, on the CPU, so that they do not depend on the device.
    """
    side = -(-images.shape[-1] // 8) * 8
    margin = side - images.shape[-1]
    before = margin // 2
    padded = nn.functional.pad(images, (before, margin - before, before, margin - before))[:, None]
    padded = padded - padded.mean(0)
    padded = padded / padded.std().clamp(min=1e-12)
    network = Autoencoder(find_components(padded.flatten(1), _LATENT)).to(images.device)
    _initialise(network, generator)
    steps = min(max(_EPOCHS * len(padded) // _BATCH, _FEWEST), _MOST)
    optimiser = torch.optim.Adam(network.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    with torch.enable_grad():
        for _ in range(steps):
            index = torch.randint(len(padded), (min(_BATCH, len(padded)),), generator=generator).to(images.device)
            batch = padded[index]
            loss = nn.functional.mse_loss(network(batch), batch)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        codes: Tensor = torch.cat([network.encode(part) for part in torch.split(padded, 1024)])
    return codes


def find_components(points: Tensor, count: int) -> Tensor:
    """(d, count) the directions in which points (n, d), their mean taken off, differ most."""
    _, vectors = torch.linalg.eigh((points.T @ points).double())
    components: Tensor = vectors[:, -count:].float()
    return components


def _initialise(network: Autoencoder, generator: torch.Generator) -> None:
    """As many random numbers as weights, but nothing that convolutions add to codes at first, and little to images."""
    with torch.no_grad():
        for weights in network.parameters():
            if weights.ndim == 1:
                weights.zero_()
                continue
            fan = weights[0].numel() if weights.ndim > 1 else 1
            weights.copy_(torch.randn(weights.shape, generator=generator) / fan**0.5)
        network.to_code.weight.zero_()
        network.to_image.weight.mul_(_FAINT)
