"""What a movie of any format is, read from its header without numpy: for listing and checking many of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from magellon.errors import BadInput
from magellon.io.eer_header import read_eer_header
from magellon.io.files import find_suffix
from magellon.io.mrc_header import read_mrc_header
from magellon.io.tiff_header import find_packing, find_pixel_size, read_tiff_header, require_equal_pages

MovieFormat = Literal["mrc", "tiff", "eer"]

MOVIE_SUFFIXES: dict[str, MovieFormat] = {
    ".mrc": "mrc",
    ".mrcs": "mrc",
    ".st": "mrc",
    ".map": "mrc",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".eer": "eer",
    ".ecc": "eer",
}


@dataclass(frozen=True)
class MovieHeader:
    """The shape of a movie as `open_movie` gives it."""

    format: MovieFormat
    frames: int
    """As stored: raw frames of an EER movie."""
    height: int
    width: int
    pixel_size: float | None
    """Å/px; None when the file does not say."""


def find_movie_format(path: Path | str) -> MovieFormat:
    """The format by the file's name, without `.gz` and `.bz2`.

    Raises:
        BadInput: a suffix that is none of a movie.
    """
    found = MOVIE_SUFFIXES.get(find_suffix(path))
    if found is None:
        raise BadInput(f"{path}: not a movie: its name ends in none of {', '.join(MOVIE_SUFFIXES)}")
    return found


def read_movie_header(path: Path | str) -> MovieHeader:
    """Read a movie's size; of files that are not compressed this also checks that they are complete.

    Raises:
        BadInput: damaged, truncated, or not a movie.
    """
    kind = find_movie_format(path)
    if kind == "mrc":
        mrc = read_mrc_header(path)
        return MovieHeader(kind, mrc.sections, mrc.height, mrc.width, mrc.pixel_size)
    if kind == "eer":
        eer = read_eer_header(path)
        return MovieHeader(kind, len(eer.pages), eer.height, eer.width, eer.pixel_size)
    pages = read_tiff_header(path).pages
    require_equal_pages(pages, path)
    first = pages[0]
    width = first.width * 2 if find_packing(first) == "half-width" else first.width
    return MovieHeader(kind, len(pages), first.height, width, find_pixel_size(first))
