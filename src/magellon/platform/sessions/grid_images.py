"""Pictures of the grid that steps work on: atlases, or the tiles of one, and squares, found among a session's places."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from magellon.contracts import GridImage
from magellon.errors import BadInput
from magellon.io.image_header import ImageHeader, read_image_header
from magellon.platform.sessions.places import Place
from magellon.platform.sessions.tree import HeaderCache

KINDS = ("atlas", "square")
"""Of places whose pictures are looked at; each is a kind of item of a session."""
_UNUSUAL = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class FoundImage:
    """One picture, with an absolute path."""

    kind: str
    image: GridImage
    place: str
    """Name of the place it shows."""

    @property
    def name(self) -> str:
        """Of the item: one that no movie can have."""
        return f"{self.kind}/{self.image.name}"


def find_grid_images(places: Iterable[Place], cache: HeaderCache) -> tuple[list[FoundImage], list[str]]:
    """The pictures of places, and why some that are listed cannot be used."""
    found: list[FoundImage] = []
    problems: list[str] = []
    taken: set[str] = set()
    for place in sorted(places, key=lambda each: (each.kind, each.name)):
        for name, path, stage in _list_pictures(place):
            try:
                path, header = _read(path, cache)
            except BadInput as error:
                problems.append(str(error))
                continue
            image = GridImage(
                name=_name(f"{place.kind}/", name, taken),
                path=path,
                pixel_size=_find_pixel_size(place, header),
                stage=stage,
                stage_z=place.z,
            )
            found.append(FoundImage(place.kind, image, place.name))
    return found, problems


def _list_pictures(place: Place) -> Iterator[tuple[str, Path, tuple[float, float] | None]]:
    """Name, file and stage position; an atlas that nobody put together is its tiles."""
    if place.kind not in KINDS:
        return
    if place.image is not None:
        stage = (place.x, place.y) if place.x is not None and place.y is not None else None
        yield place.name, place.image, stage
        return
    for tile in place.tiles:
        if tile.image is not None:
            yield tile.name, tile.image, (tile.x, tile.y) if tile.x is not None and tile.y is not None else None


def _read(path: Path, cache: HeaderCache) -> tuple[Path, ImageHeader]:
    """The picture as it was taken rather than the one that browsers show, if both are there."""
    whole = path.with_suffix(".mrc")
    if whole != path and whole.exists():
        try:
            return whole, cache.read(whole, read_image_header)
        except BadInput:
            pass  # then the other one
    return path, cache.read(path, read_image_header)


def _find_pixel_size(place: Place, header: ImageHeader) -> float | None:
    if place.pixel_size is not None and place.image_shape is not None:
        return round(place.pixel_size * place.image_shape[1] / header.width, 6)
    return round(header.pixel_size, 6) if header.pixel_size is not None else None


def _name(kind: str, name: str, taken: set[str]) -> str:
    """Fit for file names, and unique among pictures of its kind."""
    base = _UNUSUAL.sub("_", name).strip("._")[:120] or "image"
    free, number = base, 2
    while kind + free in taken:
        free, number = f"{base}_{number}", number + 1
    taken.add(kind + free)
    return free
