"""What a movie's header tells before anything runs: its size, and whether the file is whole. Loads no array library."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from magellon.errors import BadInput
from magellon.io.mrc_header import read_mrc_header
from magellon.io.tiff_header import read_tiff_header


@dataclass(frozen=True)
class MovieHeader:
    """Frames of a movie as stored."""

    frames: int
    height: int
    width: int
    pixel_size: float | None


def read_movie_header(path: Path) -> MovieHeader:
    """Read the header of an MRC, TIFF or EER movie.

    Raises:
        BadInput: truncated, empty, unreadable or of an unknown kind.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in (".mrc", ".mrcs"):
            header = read_mrc_header(path)
            return MovieHeader(header.sections, header.height, header.width, header.pixel_size)
        if suffix in (".tif", ".tiff", ".eer"):
            pages = read_tiff_header(path).pages
            _check_pages(path, [(page.height, page.width) for page in pages])
            _check_end(
                path, max(end for page in pages for end in map(sum, zip(page.strip_offsets, page.strip_bytes, strict=False)))
            )
            return MovieHeader(len(pages), pages[0].height, pages[0].width, None)
    except OSError as error:
        raise BadInput(f"{path.name}: {error.strerror or error}") from error
    raise BadInput(f"{path.name}: a movie must be TIFF, MRC or EER, not {suffix or 'without a suffix'}")


def _check_pages(path: Path, shapes: list[tuple[int, int]]) -> None:
    for number, shape in enumerate(shapes, 1):
        if shape != shapes[0]:
            raise BadInput(f"{path.name}: frame {number} is {_size(shape)}, the first {_size(shapes[0])}")


def _check_end(path: Path, end: int) -> None:
    size = path.stat().st_size
    if end > size:
        raise BadInput(f"{path.name}: truncated: {size} bytes, its frames reach to byte {end}")


def find_odd_sizes(headers: Mapping[str, MovieHeader]) -> dict[str, str]:
    """Movies whose frames are of another size than those of most movies of the session, and why that is a problem."""
    counts = Counter((header.height, header.width) for header in headers.values())
    if len(counts) < 2:
        return {}
    usual, number = counts.most_common(1)[0]
    if number * 2 <= len(headers):
        return {}  # no size is usual; backends judge each movie against its gain
    return {
        name: f"{name}: {_size((header.height, header.width))}, the session's movies are {_size(usual)}"
        for name, header in headers.items()
        if (header.height, header.width) != usual
    }


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]} x {shape[0]} px"
