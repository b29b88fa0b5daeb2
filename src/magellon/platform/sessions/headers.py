"""What movies' headers tell before anything runs. Loads no array library."""

from collections import Counter
from collections.abc import Mapping

from magellon.io.movie_header import MovieHeader


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
