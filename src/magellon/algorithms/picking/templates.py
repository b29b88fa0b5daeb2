"""Templates: projections of a map, and 2D templates brought to the field's scale, turned and normalised."""

import math

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.errors import BadInput

EXTENT_SHARE = 0.15
"""Of the strongest value: what is weaker is no longer the particle."""
MASK_FALL_OFF = 0.1
"""Width of the soft rim of the template's mask, in diameters."""


def project_map(volume: Tensor, views: int) -> Tensor:
    """Projections of a map from directions spread evenly over the sphere (Fibonacci spiral).

    Args:
        volume: (n, n, n), (z, y, x), mass positive.
        views: number of directions.

    Returns:
        (views, n, n).

    Raises:
        BadInput: not a cube, or less than one view.
    """
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise BadInput(f"map of shape {tuple(volume.shape)}: must be a cube")
    if views < 1:
        raise BadInput(f"{views} views: at least 1 is needed")
    index = torch.arange(views, dtype=torch.float64)
    tilt = torch.acos(1 - 2 * (index + 0.5) / views)
    rot = index * math.pi * (3 - math.sqrt(5))
    size = volume.shape[0]
    centre = size // 2
    axis = torch.arange(size, dtype=torch.float32, device=volume.device) - centre
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    points = torch.stack([x, y, z], dim=-1)
    projections = []
    for a, b in zip(rot.tolist(), tilt.tolist(), strict=True):
        # Columns are the object's axes seen from this direction; a point of the view lies at matrix^T of itself in the map.
        about_z = torch.tensor([[math.cos(a), math.sin(a), 0], [-math.sin(a), math.cos(a), 0], [0, 0, 1]])
        about_y = torch.tensor([[math.cos(b), 0, -math.sin(b)], [0, 1, 0], [math.sin(b), 0, math.cos(b)]])
        source = points @ (about_y @ about_z).to(points) + centre
        grid = 2 * source / (size - 1) - 1
        turned = torch.nn.functional.grid_sample(volume[None, None].to(torch.float32), grid[None], align_corners=True)
        projections.append(turned[0, 0].sum(dim=0))
    return torch.stack(projections)


def crop_map(volume: Tensor, size: int) -> Tensor:
    """The map on a coarser grid of `size` per side by cropping its transform; the middle [n // 2] stays the middle.

    Args:
        volume: (n, n, n); returned as it is when n is not above `size`.
    """
    n = volume.shape[0]
    if n <= size:
        return volume
    axes = (0, 1, 2)
    transform = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(volume, dim=axes)), dim=axes)
    start = n // 2 - size // 2
    part = transform[(slice(start, start + size),) * 3]
    cropped: Tensor = torch.fft.ifftn(torch.fft.ifftshift(part, dim=axes)).real
    middle: Tensor = torch.fft.fftshift(cropped, dim=axes)
    return middle * (size / n) ** 3


def measure_diameter(templates: Tensor, pixel_size: float) -> float:
    """Longest extent in Å of what any of the templates shows: (k, n, n).

    Raises:
        BadInput: they show nothing, or fill their boxes.
    """
    size = templates.shape[-1]
    y = torch.arange(size, dtype=torch.float32, device=templates.device) - size // 2
    ring = torch.sqrt(y[:, None] ** 2 + y[None, :] ** 2).round().long()
    level = templates[:, ring == size // 2].median(dim=-1).values
    strength = (templates - level[:, None, None]).abs().amax(dim=0)
    radii = ring[strength > EXTENT_SHARE * strength.max()]
    if radii.numel() == 0 or int(radii.max()) < 2 or int(radii.max()) >= size // 2:
        raise BadInput("the templates' diameter cannot be measured: give `diameter`")
    return 2 * float(radii.max()) * pixel_size


def low_pass(images: Tensor, pixel_size: float, resolution: float) -> Tensor:
    """Fade out frequencies around 1 / resolution (Å), a raised cosine of a fifth of it: (..., height, width)."""
    shape = (images.shape[-2], images.shape[-1])
    k_row, k_column = rfft_frequencies(shape, pixel_size, images.device)
    relative = torch.sqrt(k_row**2 + k_column**2) * resolution
    weights = 0.5 + 0.5 * torch.cos(math.pi * ((relative - 0.9) / 0.2).clamp(0, 1))
    result: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * weights, s=shape)
    return result


def make_positive(templates: Tensor, diameter_px: float) -> Tensor:
    """Mass positive, whichever way the templates were written: (k, n, n)."""
    size = templates.shape[-1]
    y = torch.arange(size, dtype=templates.dtype, device=templates.device) - size // 2
    inside = (y[:, None] ** 2 + y[None, :] ** 2) < (diameter_px / 4) ** 2
    outside = (y[:, None] ** 2 + y[None, :] ** 2) > (0.9 * min(diameter_px / 2, size / 2)) ** 2
    difference = templates[:, inside].mean(-1) - templates[:, outside].mean(-1)
    return templates * torch.sign(difference.median() + 1e-30)


def turn_templates(templates: Tensor, angles: Tensor, scale: float, diameter: float) -> Tensor:
    """Turned copies of templates on the field's grid, under a soft round mask, without a mean.

    Args:
        templates: (k, n, n), low-passed, centre at [n // 2, n // 2].
        angles: (a,) psi in degrees: content at (x, y) goes to (x cos psi + y sin psi, -x sin psi + y cos psi).
        scale: template pixels per cell.
        diameter: of the mask, in cells.

    Returns:
        (k, a, m, m), m odd, centred.
    """
    radius = math.ceil(diameter * (0.5 + MASK_FALL_OFF))
    axis = torch.arange(-radius, radius + 1, dtype=torch.float32, device=templates.device)
    y, x = axis[:, None], axis[None, :]
    psi = torch.deg2rad(angles.to(torch.float32))[:, None, None]
    source_x = (x * torch.cos(psi) - y * torch.sin(psi)) * scale
    source_y = (x * torch.sin(psi) + y * torch.cos(psi)) * scale
    size = templates.shape[-1]
    grid = 2 * (torch.stack([source_x, source_y], dim=-1) + size // 2) / (size - 1) - 1
    stack = templates[:, None].expand(-1, 1, -1, -1).to(torch.float32)
    turned = torch.stack(
        [
            torch.nn.functional.grid_sample(
                stack, g[None].expand(stack.shape[0], -1, -1, -1), mode="bicubic", padding_mode="border", align_corners=True
            )[:, 0]
            for g in grid
        ],
        dim=1,
    )
    distance = torch.sqrt(x**2 + y**2)
    fall = (distance - diameter / 2) / (MASK_FALL_OFF * diameter)
    mask = 0.5 + 0.5 * torch.cos(math.pi * fall.clamp(0, 1))
    rim = mask * (distance > 0.4 * diameter)
    level = (turned * rim).sum((-2, -1), keepdim=True) / rim.sum().clamp(min=1e-6)
    return (turned - level) * mask
