"""SerialEM sessions: an `.mdoc` beside each movie, and `.nav` files for the places."""

import re
from pathlib import Path

from magellon.errors import BadInput
from magellon.io.files import find_suffix
from magellon.io.serialem import NavigatorItem, SerialEmImage, read_mdoc, read_navigator
from magellon.platform.sessions.definition import is_movie
from magellon.platform.sessions.found import Described, Metadata
from magellon.platform.sessions.places import Place, Shot
from magellon.platform.sessions.references import looks_like_reference
from magellon.platform.sessions.tree import HeaderCache, Tree

_HOLE_NAME = "hole {}"


def read_serialem(tree: Tree, cache: HeaderCache) -> Metadata:
    """All there is to know; files that cannot be read are reported."""
    problems: list[str] = []
    described, stacks, damaged = _read_mdocs(tree, cache, problems)
    navigator = _read_navigators(tree, cache, problems)
    movies, matched, others = _match_movies(
        tree, described, stacks | {item.map_file.lower() for item in navigator if item.map_file}
    )
    kinds = {path.suffix.lower() for path in movies}
    undescribed = [path for path in others if path.name.lower() in damaged and path.suffix.lower() in kinds]
    movies.update(dict.fromkeys(undescribed))
    others = [path for path in others if path not in undescribed]
    if others and matched:
        problems.append(f"{len(others)} images without an .mdoc of a movie are left out: {_shorten(others)}")
    elif others:
        movies.update(dict.fromkeys(others))
    missing = sorted(set(described) - matched)
    used = {each.place.parent for each in described.values() if each.place.parent}
    return Metadata(
        name=tree.folder.resolve().name,
        movies=dict(sorted(movies.items())),
        places=tuple(_make_places(tree, navigator, used, described)),
        problems=tuple(problems),
        missing=(f"{len(missing)} movies that .mdoc files describe are not in the folder: {_shorten(missing)}",)
        if missing
        else (),
    )


def _read_mdocs(tree: Tree, cache: HeaderCache, problems: list[str]) -> tuple[dict[str, Described], set[str], set[str]]:
    """Movies by file name in lower case, the names of stacks that are no movies, and of files whose .mdoc is damaged."""
    described: dict[str, Described] = {}
    stacks: set[str] = set()
    damaged: set[str] = set()
    for path in tree.files:
        if path.suffix.lower() not in (".mdoc", ".idoc"):
            continue
        try:
            images = cache.read(path, read_mdoc)
        except BadInput as error:
            problems.append(str(error))
            damaged.add(path.stem.lower())
            continue
        if all(image.section == "ZValue" for image in images):
            stacks.add(path.stem.lower())
        for image in images:
            name = image.movie or (path.stem if image.section == "FrameSet" else None)
            if name is not None:
                described[name.lower()] = describe_image(Path(name).stem, image)
    return described, stacks, damaged


def describe_image(name: str, image: SerialEmImage) -> Described:
    """A movie of SerialEM in the terms of all importers."""
    x, y, z = image.stage
    hole = None
    if image.item is not None:
        hole = _HOLE_NAME.format(image.item if image.hole is None else f"{image.item}-{image.hole[0]}")
    return Described(
        shot=Shot(
            taken_at=image.taken_at,
            detector=image.detector,
            applied_defocus=image.applied_defocus,
            exposure=image.exposure,
            exposure_per_frame=image.exposure_per_frame,
            exposure_time=image.exposure_time,
            frames=image.frames,
            pixel_size=image.pixel_size,
            tilt=image.tilt,
            image_shift=image.image_shift,
        ),
        place=Place(
            kind="exposure",
            name=name,
            parent=hole,
            x=x,
            y=y,
            z=z,
            magnification=image.magnification,
        ),
        voltage=image.voltage,
        binning=image.binning,
        shift=image.image_shift,
        pattern="-".join(image.hole) if image.hole else None,
        gain=image.gain,
        defects=image.defects,
    )


def _match_movies(
    tree: Tree, described: dict[str, Described], stacks: set[str]
) -> tuple[dict[Path, Described | None], set[str], list[Path]]:
    """Movies by file; by the names that .mdoc files give, or the same names with another suffix."""
    stems = {Path(name).stem: name for name in described}
    movies: dict[Path, Described | None] = {}
    matched: set[str] = set()
    others = []
    for path in tree.files:
        if not is_movie(path) or path.name.lower() in stacks or looks_like_reference(path):
            continue
        name = path.name.lower()
        found = name if name in described else stems.get(name[: name.rindex(find_suffix(path))])
        if found is None:
            others.append(path)
        elif found not in matched:
            matched.add(found)
            movies[path] = described[found]
    return movies, matched, others


def _read_navigators(tree: Tree, cache: HeaderCache, problems: list[str]) -> list[NavigatorItem]:
    items: list[NavigatorItem] = []
    for path in tree.files:
        if path.suffix.lower() == ".nav":
            try:
                items += cache.read(path, read_navigator)
            except BadInput as error:
                problems.append(str(error))
    return items


def _make_places(tree: Tree, items: list[NavigatorItem], used: set[str], described: dict[str, Described]) -> list[Place]:
    """Maps are atlases or squares; points at which something was or is to be taken are holes."""
    names = _name_maps(items)
    places = [_place_map(tree, item, names) for item in items if item.number in names]
    labels = {_HOLE_NAME.format(item.label): item for item in items if item.kind != "map"}
    for name in sorted(used | {name for name, item in labels.items() if item.acquire}):
        item = labels.get(name) or labels.get(name.rpartition("-")[0])
        x, y, z = item.stage if item else _find_stage(name, described)
        parent = names.get(item.drawn_on or "") if item else None
        state = "used" if name in used else "to be acquired"
        places.append(Place(kind="hole", name=name, parent=parent, x=x, y=y, z=z, state=state))
    return list({(place.kind, place.name): place for place in places}.values())


def _name_maps(items: list[NavigatorItem]) -> dict[str, str]:
    """Number > name of each map: montages of the lowest magnification are atlases, all others squares."""
    maps = [item for item in items if item.kind == "map"]
    lowest = min((item.magnification_index for item in maps if item.magnification_index is not None), default=None)
    return {
        item.number: f"{'atlas' if item.montage and item.magnification_index == lowest else 'square'} {item.label}"
        for item in maps
        if item.number is not None
    }


def _place_map(tree: Tree, item: NavigatorItem, names: dict[str, str]) -> Place:
    name = names[item.number or ""]
    x, y, z = item.stage
    image = tree.find_image(re.sub(r"\.[^.]+$", "", item.map_file)) if item.map_file else None
    if name.startswith("atlas"):
        return Place(kind="atlas", name=name, x=x, y=y, z=z, image=image)
    return Place(kind="square", name=name, parent=names.get(item.drawn_on or ""), x=x, y=y, z=z, image=image)


def _find_stage(hole: str, described: dict[str, Described]) -> tuple[float | None, float | None, float | None]:
    first = next((each.place for each in described.values() if each.place.parent == hole), None)
    return (first.x, first.y, first.z) if first else (None, None, None)


def _shorten(names: list[Path] | list[str]) -> str:
    listed = [name.name if isinstance(name, Path) else name for name in names[:3]]
    return ", ".join(listed) + (", ..." if len(names) > 3 else "")
