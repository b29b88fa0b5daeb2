"""From a micrograph of any size to an image at the network's scale, and back, without a step at its edges.

The micrograph is extended by its own mirror image before it is transformed, so that nothing wraps round. Frequencies are
kept exactly: the scale is a ratio of two sizes, so that it differs from 4 Å/px by up to a per cent.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.denoising.blend import LIMIT
from magellon.algorithms.denoising.network import STRIDE
from magellon.algorithms.denoising.thon import ThonRings
from magellon.algorithms.fourier import rfft_frequencies

PIXEL_SIZE = 4.0
"""Å, of the network: beyond 1/8 Å single pixels of a micrograph tell nothing about what lies beside them."""
_MARGIN = 128.0
"""Å of mirror image on each side."""
_FALL = 50.0
"""Å²: beyond the network's scale weights fall as exp(-50 k²): to half at 1/6 Å, to a tenth at 1/4 Å."""


@dataclass(frozen=True)
class Scale:
    """Shapes are (height, width)."""

    shape: tuple[int, int]
    """Of the micrograph."""
    margin: int
    """Pixels of mirror image above and to the left."""
    extended: tuple[int, int]
    """Of the micrograph with its mirror image."""
    reduced: tuple[int, int]
    """The same area at the network's scale; multiples of its stride."""
    limit_px: float
    """Highest frequency that both scales hold, cycles per pixel of the micrograph."""

    @property
    def pixels_kept(self) -> float:
        """Pixels of the reduced image for each of the extended one: noise variances are in this ratio."""
        return self.reduced[0] * self.reduced[1] / (self.extended[0] * self.extended[1])


def plan_scale(shape: tuple[int, int], pixel_size: float) -> Scale:
    """Sizes for a micrograph of `shape` with pixels of `pixel_size` Å."""
    margin = round(_MARGIN / pixel_size)
    extended = tuple(_fast_size(side + 2 * margin) for side in shape)
    reduced = tuple(STRIDE * max(1, round(side * pixel_size / PIXEL_SIZE / STRIDE)) for side in extended)
    limit_px = 0.5 * min(1.0, pixel_size / PIXEL_SIZE)
    return Scale(shape, margin, (extended[0], extended[1]), (reduced[0], reduced[1]), limit_px)


def reduce_image(image: Tensor, scale: Scale) -> Tensor:
    """A micrograph (height, width) at the network's scale: (`scale.reduced`), of the same mean."""
    return resample(_extend(image, scale), scale.reduced)


def enlarge_image(reduced: Tensor, scale: Scale) -> Tensor:
    """The inverse: an image at the network's scale as a micrograph (height, width)."""
    return _inside(resample(reduced, scale.extended), scale)


def pick_fine(image: Tensor, scale: Scale, pixel_size: float, rings: ThonRings | None = None) -> Tensor:
    """What a micrograph (height, width) holds beyond 0.5 cycles per pixel of the network's scale, less of it the finer it is.

    Signals fall off as they do with a B factor, noise does not.

    Args:
        rings: of the micrograph, by which it is weighed.
    """
    transform = torch.fft.rfft2(_extend(image, scale))
    k_row, k_column = rfft_frequencies(scale.extended, pixel_size, image.device)
    beyond = (k_row**2 + k_column**2 - (0.5 / PIXEL_SIZE) ** 2).clamp(min=0)
    weights = torch.exp(-_FALL * beyond)
    if rings:
        weights *= rings.weigh(k_row, k_column)
    # In the pixels of the network's scale, so that this begins where that ends.
    row, column = (pixel_size * whole / small for whole, small in zip(scale.extended, scale.reduced, strict=True))
    weights *= (row * k_row) ** 2 + (column * k_column) ** 2 >= LIMIT**2
    return _inside(torch.fft.irfft2(transform * weights, s=scale.extended), scale)


def reduced_frequencies(scale: Scale, pixel_size: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """As `rfft_frequencies`, 1/Å: those of an image at the network's scale, whose pixels are not quite square."""
    k_row, k_column = rfft_frequencies(scale.reduced, pixel_size, device)
    row, column = (small / whole for whole, small in zip(scale.extended, scale.reduced, strict=True))
    return k_row * row, k_column * column


def enlarge_smooth(reduced: Tensor, scale: Scale) -> Tensor:
    """As `enlarge_image`, by straight lines between pixels: quicker, and good enough for what varies slowly."""
    enlarged = torch.nn.functional.interpolate(reduced[None, None], scale.extended, mode="bilinear")[0, 0]
    return _inside(enlarged, scale)


def _inside(extended: Tensor, scale: Scale) -> Tensor:
    (height, width), margin = scale.shape, scale.margin
    return extended[margin : margin + height, margin : margin + width].contiguous()


def _extend(image: Tensor, scale: Scale) -> Tensor:
    sides = zip(scale.shape, scale.extended, strict=True)
    rows, columns = (_mirror_indices(side, scale.margin, whole, image.device) for side, whole in sides)
    return image[rows][:, columns]


def resample(image: Tensor, new_shape: tuple[int, int]) -> Tensor:
    """A periodic image (height, width) on a finer or coarser grid; sample 0 stays where it is, and the mean what it is."""
    if tuple(image.shape) == new_shape:
        return image
    (height, width), (new_height, new_width) = image.shape, new_shape
    rows, columns = (min(height, new_height) - 1) // 2 + 1, (min(width, new_width) - 1) // 2 + 1
    transform = torch.fft.rfft2(image)
    kept = torch.zeros(new_height, new_width // 2 + 1, dtype=transform.dtype, device=image.device)
    kept[:rows, :columns] = transform[:rows, :columns]
    if rows > 1:
        kept[1 - rows :, :columns] = transform[1 - rows :, :columns]
    resampled: Tensor = torch.fft.irfft2(kept, s=new_shape)
    return resampled * ((new_height * new_width) / (height * width))


def _mirror_indices(side: int, margin: int, whole: int, device: torch.device) -> Tensor:
    """Which of `side` pixels lies at each of `whole` places, the first of which is `margin` before pixel 0."""
    place = torch.arange(-margin, whole - margin, device=device)
    period = max(2 * (side - 1), 1)
    place = place.remainder(period)
    return torch.minimum(place, period - place).clamp(max=side - 1)


def _fast_size(minimum: int) -> int:
    """The smallest even number, at least `minimum`, with no prime factor above 5: quick to transform."""
    size = minimum + minimum % 2
    while _strip_factors(size) != 1:
        size += 2
    return size


def _strip_factors(number: int) -> int:
    for factor in (2, 3, 5):
        while number % factor == 0:
            number //= factor
    return number
