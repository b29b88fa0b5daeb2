"""The pixel size of a movie, from that of the picture which the acquisition program describes, and the sizes of both."""

from magellon.io.movie_header import MovieHeader
from magellon.platform.sessions.found import Described

_TOLERANCE = 0.02
"""Some programs leave out a few rows: 3838 x 3710 and 1920 x 1856 are the same field."""
_CAMERAS = {"K2": (3838, 3710), "K3": (5760, 4092)}
"""(longer, shorter side) in physical pixels of detectors that count in pixels of half the size."""


def fit_pixel_size(described: Described, header: MovieHeader | None) -> float | None:
    """Å/px of the movie; None when nobody says.

    EPU describes a picture that is binned 2 or 4 times against the movie, of the same field: the ratio of their sizes tells.
    SerialEM gives the binning instead, from which the physical pixel follows, and the detector's size is known of some.
    """
    pixel = described.shot.pixel_size
    if header is None:
        return pixel
    if pixel is None:
        return header.pixel_size
    if described.image_shape is not None:
        factor = _find_ratio((header.height, header.width), described.image_shape)
        return pixel / factor if factor is not None else None
    if described.binning is not None:
        for camera in _CAMERAS.values():
            factor = _find_ratio((header.height, header.width), camera)
            if factor in (1, 2):
                return pixel / described.binning / factor
        if described.binning > 1 and header.pixel_size is not None:
            return header.pixel_size
    return pixel


def _find_ratio(movie: tuple[int, int], image: tuple[int, int]) -> float | None:
    """How many pixels of the movie make one of the image, where both sides agree; whichever way either lies."""
    ratios = [large / small for large, small in zip(sorted(movie), sorted(image), strict=True)]
    if abs(ratios[0] / ratios[1] - 1) > _TOLERANCE:
        return None
    for whole in (1, 2, 3, 4, 8, 16):
        for ratio in (float(whole), 1 / whole):
            if abs(ratios[1] / ratio - 1) <= _TOLERANCE:
                return ratio
    return None
