"""Leginon sessions: `session.json` as exported, beside the movies."""

import re
from pathlib import Path

from magellon.io.files import find_suffix
from magellon.io.leginon import LeginonImage, read_leginon_session
from magellon.platform.sessions.definition import SESSION_FILE, is_movie
from magellon.platform.sessions.found import Described, Metadata
from magellon.platform.sessions.places import Place, Shot, Tile
from magellon.platform.sessions.references import looks_like_reference
from magellon.platform.sessions.tree import HeaderCache, Tree

_ENDING = re.compile(r"[._-](frames|fractions|movie|raw|eer|st)$", re.IGNORECASE)
_ATLAS = "atlas"


def read_leginon(tree: Tree, cache: HeaderCache) -> Metadata:
    """All there is to know.

    Raises:
        BadInput: the export itself is damaged.
    """
    session = cache.read(tree.folder / SESSION_FILE, read_leginon_session)
    images = {image.name: image for image in session.images}
    kinds = {name: image.kind for name, image in images.items()}
    exposures = {image.name.lower(): image for image in session.images if image.kind == "exposure"}
    movies: dict[Path, Described | None] = {}
    taken: set[str] = set()
    unknown = []
    for path in tree.files:
        if not is_movie(path) or looks_like_reference(path):
            continue
        stem = path.name[: path.name.lower().rindex(find_suffix(path))]
        name = next((each for each in (stem.lower(), _ENDING.sub("", stem).lower()) if each in exposures), None)
        if name is not None and name not in taken:
            taken.add(name)
            movies[path] = describe_image(exposures[name])
        elif name is None and stem not in images:
            unknown.append(path)
    problems = []
    missing = sorted(set(exposures) - taken)
    if unknown:
        problems.append(f"{len(unknown)} movies are not in {SESSION_FILE}: {', '.join(path.name for path in unknown[:3])}")
        movies.update(dict.fromkeys(unknown))
    return Metadata(
        name=session.name,
        movies=dict(sorted(movies.items())),
        places=tuple(_make_places(tree, session.images, kinds, taken)),
        problems=tuple(problems),
        missing=(f"{len(missing)} exposures have no movie in the folder: {', '.join(missing[:3])}",) if missing else (),
    )


def describe_image(image: LeginonImage) -> Described:
    """An exposure of Leginon in the terms of all importers."""
    return Described(
        shot=Shot(
            applied_defocus=image.applied_defocus,
            exposure=image.exposure,
            exposure_time=image.exposure_time,
            frames=image.frames,
            pixel_size=image.pixel_size,
            tilt=image.tilt,
            image_shift=image.image_shift,
            beam_shift=image.beam_shift,
        ),
        place=_make_place(image, image.parent),
        voltage=image.voltage,
        spherical_aberration=image.spherical_aberration,
        binning=image.binning,
        shift=image.image_shift or image.beam_shift,
    )


def _make_place(image: LeginonImage, parent: str | None, picture: Path | None = None) -> Place:
    x, y, z = image.stage
    return Place(
        kind=image.kind,
        name=image.name,
        parent=parent,
        x=x,
        y=y,
        z=z,
        magnification=image.magnification,
        pixel_size=image.pixel_size,
        image=picture,
    )


def _make_places(tree: Tree, images: tuple[LeginonImage, ...], kinds: dict[str, str], taken: set[str]) -> list[Place]:
    """The tiles make one atlas; exposures are listed even when their movie is elsewhere, as the export says where they lie."""
    tiles = [image for image in images if image.kind == "atlas"]
    places = []
    if tiles:
        shown = tuple(
            Tile(name=tile.name, x=tile.stage[0], y=tile.stage[1], image=tree.find_image(tile.name)) for tile in tiles
        )
        first = tiles[0]
        places.append(
            Place(kind="atlas", name=_ATLAS, magnification=first.magnification, pixel_size=first.pixel_size, tiles=shown)
        )
    for image in images:
        if image.kind not in ("square", "hole", "exposure") or image.name.lower() in taken:
            continue
        parent = _ATLAS if kinds.get(image.parent or "") == "atlas" else image.parent
        places.append(_make_place(image, parent, tree.find_image(image.name)))
    return places
