"""From boxes to what alignment needs: the coefficients of the masked particle times its CTF, its power, and its CTF's.

With data x = c R + noise, everything the likelihood of a reference R needs of a particle is conj(c) x, c² and |x|².
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.classification.disc import Disc, squared_modulus, take_coefficients
from magellon.algorithms.optics import CtfModel, ctf_phase
from magellon.units import AngstromPerPixel, Pixel

_EDGE_PX = 5.0
"""Width of the soft edge of masks, in pixels of a box of 64; scaled with the box."""
LARGEST = 1e12
"""Of a pixel: the squares of larger ones do not sum up in single precision."""


@dataclass(frozen=True)
class Optics:
    """Contrast transfer of particles (n,), of one optics group or several."""

    ctf: CtfModel | None
    """With tensors (n,) as parameters, also those of the microscope; None: particles without any CTF."""
    scale: Tensor | None = None
    """(n,) `rlnCtfScalefactor`."""
    b_factor: Tensor | None = None
    """(n,) `rlnCtfBfactor`, Å²."""
    flipped: bool = False
    """Whether phases are flipped already, so that only the size of the CTF counts."""


@dataclass(frozen=True)
class Box:
    """The geometry all particles of a run share."""

    size: Pixel
    pixel_size: AngstromPerPixel
    mask_radius: float
    """Pixels at which the soft edge begins."""

    @property
    def edge(self) -> float:
        return _EDGE_PX * self.size / 64

    def mask(self, device: torch.device | str = "cpu", size: Pixel | None = None) -> Tensor:
        """(size, size): 1 in the circle, a cosine edge around it; sampled more coarsely when a smaller size is given."""
        side = size or self.size
        place = (torch.arange(side, device=device) - side // 2) * (self.size / side)
        radius = torch.sqrt(place[:, None] ** 2 + place**2)
        return soft_step(radius, self.mask_radius, self.edge)


def soft_step(radius: Tensor, inner: float, edge: float) -> Tensor:
    """1 up to `inner`, falling to 0 at `inner + edge`."""
    return 0.5 + 0.5 * torch.cos(math.pi * ((radius - inner) / edge).clamp(0, 1))


@dataclass(frozen=True)
class Prepared:
    """Particles (n,) ready for alignment."""

    values: Tensor
    """(n, d) complex64: c x."""
    power: Tensor
    """(n, shells + 1): sums of |x|² of the masked image in each shell."""
    transfer: Tensor
    """(n, shells + 1): mean c² in each shell."""
    background: Tensor
    """(n, shells + 1): mean |x|² per coefficient outside the mask, of the whole image's area."""


def find_unusable(boxes: Tensor) -> Tensor:
    """(n,) True for boxes with NaN or infinite pixels, or some beyond `LARGEST`, or no content at all."""
    flat = boxes.flatten(1)
    lowest, highest = flat.amin(1), flat.amax(1)
    sound = (highest <= LARGEST) & (lowest >= -LARGEST)  # of a box with NaN both are NaN
    return ~sound | (highest == lowest)


def normalise_background(boxes: Tensor, box: Box) -> Tensor:
    """Give the pixels outside the mask's circle mean 0 and deviation 1. Constant backgrounds stay unscaled."""
    place = torch.arange(box.size, device=boxes.device) - box.size // 2
    outside = (place[:, None] ** 2 + place**2 > min(box.mask_radius, box.size / 2 - 1) ** 2).float()
    count = outside.sum()
    mean = (boxes * outside).flatten(1).sum(1)[:, None, None] / count
    centred = boxes - mean
    deviation = ((centred * centred * outside).flatten(1).sum(1)[:, None, None] / count).sqrt()
    return centred / torch.where(deviation < 1e-6, 1.0, deviation)


def prepare_particles(boxes: Tensor, optics: Optics, box: Box, disc: Disc, first_peak: bool = False) -> Prepared:
    """Normalise, mask, transform and weight by the CTF.

    Args:
        boxes: (n, size, size), all usable.
        first_peak: let the CTF be 1 up to its first peak.
    """
    images = normalise_background(boxes, box)
    mask = box.mask(boxes.device)
    values = take_coefficients(images * mask, disc)
    outside = 1 - mask
    surround = take_coefficients(images * outside, disc)
    counts = disc.counts.clamp(min=1)
    background = disc.shell_sums(squared_modulus(surround)) / counts / (outside**2).mean()
    ctf = contrast_transfer(optics, box, disc, first_peak)
    if ctf is None:
        transfer = torch.ones_like(background)
        return Prepared(values, disc.shell_sums(squared_modulus(values)), transfer, background)
    return Prepared(values * ctf, disc.shell_sums(squared_modulus(values)), disc.shell_sums(ctf * ctf) / counts, background)


def contrast_transfer(optics: Optics, box: Box, disc: Disc, first_peak: bool = False) -> Tensor | None:
    """The CTF (n, d) with RELION's sign, positive at low frequency for underfocus, as particles are inverted; None without."""
    if optics.ctf is None:
        return None
    extent = box.size * box.pixel_size
    k_y, k_x = disc.rows / extent, disc.columns / extent
    phase = ctf_phase(optics.ctf, k_y**2 + k_x**2, torch.atan2(k_y, k_x))
    ctf = torch.sin(phase)
    if first_peak:
        ctf = torch.where(phase.abs() < math.pi / 2, 1.0, ctf)
    if optics.flipped:
        ctf = ctf.abs()
    if optics.b_factor is not None:
        ctf = ctf * torch.exp(-optics.b_factor[:, None] / 4 * (k_y**2 + k_x**2))
    if optics.scale is not None:
        ctf = ctf * optics.scale[:, None]
    return ctf
