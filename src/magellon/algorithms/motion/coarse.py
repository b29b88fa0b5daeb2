"""First estimate of the global track, good to a few Å, for drift of any size."""

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.motion.frames import shrink_frame

_ITERATIONS = 4
_SIGNIFICANT = 7.0  # standard deviations: noise alone reaches about 5 somewhere in the image


def align_coarsely(images: Tensor, pixel_size: float, resolution: float = 20.0) -> Tensor:
    """Align each frame to the sum of the others, several times over, at low resolution.

    Args:
        images: (frames, height, width).
        pixel_size: of these images, Å.
        resolution: finest detail used, Å.

    Returns:
        (frames, 2), float64: displacement (y, x) in pixels of `images` relative to the first frame.
    """
    frames = images.shape[0]
    track = torch.zeros(frames, 2, dtype=torch.float64)
    if frames == 1:
        return track
    factor = max(1, min(int(resolution / 2 / pixel_size), *(side // 16 for side in images.shape[1:])))
    images = torch.stack([shrink_frame(image, None, factor) for image in images])
    small = (images.shape[1], images.shape[2])
    transforms = torch.fft.rfft2(images)
    k_row, k_column = rfft_frequencies(small, pixel_size * factor, images.device)
    k_squared = k_row**2 + k_column**2
    # A Gaussian low pass at the resolution; below 1/250 Å are illumination and ice thickness, which stay with the camera.
    weight = torch.exp(-k_squared * resolution**2) * (1 - torch.exp(-k_squared * 250.0**2))
    transforms = transforms * weight
    transforms[:, 0, 0] = 0
    for _ in range(_ITERATIONS):
        moved = transforms * _phase(-track / factor, small).to(images.device)
        cross = (moved.sum(0) - moved).conj() * moved
        correlation = _average_neighbours(torch.fft.irfft2(cross, s=small))
        step = torch.stack([_peak(image) for image in correlation]) * factor
        track = track + step
        track = track - track[:1]
        if float(step.abs().max()) < 0.1 * factor:
            break
    return track


def _average_neighbours(images: Tensor) -> Tensor:
    """Weighted mean over five frames: at this resolution motion between neighbours is small, noise is not."""
    weights = (3.0, 2.0, 1.0)
    total, count = images * weights[0], torch.full((len(images), 1, 1), weights[0], device=images.device)
    for distance, weight in enumerate(weights[1:], 1):
        total[distance:] += weight * images[:-distance]
        total[:-distance] += weight * images[distance:]
        count[distance:] += weight
        count[:-distance] += weight
    return total / count


def _phase(shift: Tensor, shape: tuple[int, int]) -> Tensor:
    """Factors that move images (height, width) by shift (n, 2) pixels."""
    k_row, k_column = rfft_frequencies(shape, dtype=torch.float64)
    row = torch.exp(-2j * torch.pi * k_row * shift[:, 0, None, None])
    column = torch.exp(-2j * torch.pi * k_column * shift[:, 1, None, None])
    return (row * column).to(torch.complex64)


def _peak(correlation: Tensor) -> Tensor:
    """Position (y, x) of the maximum of a periodic image, refined by parabolas through its neighbours; 0 if it is but noise."""
    height, width = correlation.shape
    if float(correlation.max()) < _SIGNIFICANT * float(correlation.std()):
        return torch.zeros(2, dtype=torch.float64)
    index = int(correlation.argmax())
    y, x = divmod(index, width)
    along_y = [float(correlation[(y + offset) % height, x]) for offset in (-1, 0, 1)]
    along_x = [float(correlation[y, (x + offset) % width]) for offset in (-1, 0, 1)]
    centre = (y - height if y > height // 2 else y, x - width if x > width // 2 else x)
    return torch.tensor([centre[0] + _vertex(along_y), centre[1] + _vertex(along_x)], dtype=torch.float64)


def _vertex(values: list[float]) -> float:
    before, middle, after = values
    curvature = 2 * middle - before - after
    return 0.0 if curvature <= 0 else max(-0.5, min(0.5, 0.5 * (after - before) / curvature))
