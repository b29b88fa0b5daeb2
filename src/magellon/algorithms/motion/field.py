"""Where the specimen is in each frame: a global track and a smooth field of local motion around it."""

from dataclasses import dataclass

import torch
from torch import Tensor

LOCAL_TERMS = 9
"""Number of spatial functions of the local motion: all products of powers of x and y of orders 1 to 3."""


def local_basis(points_px: Tensor, shape: tuple[int, int]) -> Tensor:
    """The spatial functions at points of a movie: x, y, x², xy, y², x³, x²y, xy², y³ in coordinates -1..1 over the field.

    Args:
        points_px: (..., 2), (y, x).
        shape: (height, width).

    Returns:
        (..., 9), float64.
    """
    points = points_px.to(torch.float64)
    y = 2 * points[..., 0] / shape[0] - 1
    x = 2 * points[..., 1] / shape[1] - 1
    return torch.stack([x, y, x**2, x * y, y**2, x**3, x**2 * y, x * y**2, y**3], dim=-1)


@dataclass(frozen=True)
class MotionField:
    """Displacement of the specimen relative to the first frame, in pixels of the movie, (y, x).

    Content that is at p in the first frame is at p + displacement(p) in frame f.
    """

    shape: tuple[int, int]
    """(height, width) of the movie."""
    track: Tensor
    """(frames, 2), float64: displacement of the field's centre; zero in the first frame."""
    local: Tensor | None = None
    """(frames, 9, 2), float64: coefficients of `local_basis`; zero in the first frame. None: no local motion."""

    @property
    def frames(self) -> int:
        return self.track.shape[0]

    def displacement(self, points_px: Tensor) -> Tensor:
        """(frames, ..., 2) at points (..., 2)."""
        points = points_px.to(self.track)
        track = self.track.reshape(self.frames, *([1] * (points.ndim - 1)), 2)
        if self.local is None:
            return track.expand(self.frames, *points.shape).clone()
        return track + torch.einsum("...j,fjc->f...c", local_basis(points, self.shape), self.local)

    def global_track(self) -> Tensor:
        """(frames, 2): mean displacement over the field."""
        return self.displacement(grid_centres(self.shape, (8, 8))).mean(dim=(1, 2))


def grid_centres(shape: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Centres (rows, columns, 2) of the cells of a grid over an image, (y, x) in pixels, float64."""
    y = (torch.arange(grid[0], dtype=torch.float64) + 0.5) * shape[0] / grid[0] - 0.5
    x = (torch.arange(grid[1], dtype=torch.float64) + 0.5) * shape[1] / grid[1] - 0.5
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)


@dataclass(frozen=True)
class MotionSummary:
    """Summed |step| of the global track in Å."""

    total: float
    early: float
    """Up to 4 e/Å², pre-exposure included."""
    late: float


def summarise_motion(track: Tensor, pixel_size: float, exposure_per_frame: float | None, pre_exposure: float) -> MotionSummary:
    """Total, early and late motion. A step counts as early when the frame it starts from ends before 4 e/Å².

    Without a known exposure the first four frames are early.
    """
    steps = (track[1:] - track[:-1]).norm(dim=-1) * pixel_size
    start = torch.arange(1, track.shape[0], dtype=torch.float64) * (exposure_per_frame or 1.0) + pre_exposure
    early = float(steps[start < 4.0].sum())
    total = float(steps.sum())
    return MotionSummary(total=total, early=early, late=total - early)
