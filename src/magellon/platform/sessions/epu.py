"""EPU sessions: `EpuSession.dm`, `Metadata/GridSquare_*.dm`, `Atlas.dm`, and one XML file for each image and movie."""

import re
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from magellon.errors import BadInput
from magellon.io.epu import EpuImage, EpuSquare, read_epu_atlas, read_epu_image, read_epu_session, read_epu_square
from magellon.io.files import find_suffix
from magellon.platform.sessions.definition import is_movie
from magellon.platform.sessions.found import Described, Metadata
from magellon.platform.sessions.places import Place, Shot, Tile
from magellon.platform.sessions.tree import HeaderCache, Tree

EXPOSURE = re.compile(r"FoilHole_(?P<hole>\d+)_Data_(?P<area>\d+)_", re.IGNORECASE)
_HOLE = re.compile(r"FoilHole_(?P<hole>\d+)_\d+_\d+$", re.IGNORECASE)
_SQUARE = re.compile(r"GridSquare_(\d+)$", re.IGNORECASE)
_SQUARE_IMAGE = re.compile(r"GridSquare_\d+_\d+$", re.IGNORECASE)
_MOVIE_END = re.compile(r"[_-](fractions|eer)$", re.IGNORECASE)
_SHIFT_UNIT = 26.0
"""µm on the specimen of a beam shift of 1: two exposures of one hole of a 3.9.1 session, 0.68 µm apart in the template, differ
by 0.0262. Other microscopes may differ; it only says which shifts are near each other."""
_TOP_STATES = {"Defined", None}


def read_epu(tree: Tree, cache: HeaderCache) -> Metadata:
    """All there is to know; files that cannot be read are reported."""
    return _Reader(tree, cache).read()


class _Reader:
    def __init__(self, tree: Tree, cache: HeaderCache) -> None:
        self._tree, self._cache = tree, cache
        self._problems: list[str] = []
        self._missing: list[str] = []
        self._parts = sorted({path.parent for path in tree.files if path.name == "EpuSession.dm"}) or [tree.folder]
        self._places: dict[tuple[str, str], Place] = {}
        self._needs_gain = False
        self._name = tree.folder.resolve().name

    def read(self) -> Metadata:
        for part in self._parts:
            self._read_session(part)
        images = self._read_images()
        for path in self._tree.files:
            if path.suffix == ".dm" and _SQUARE.match(path.stem):
                self._read_square(path)
        movies = self._match_movies(images)
        return Metadata(
            name=self._name,
            movies=movies,
            places=tuple(sorted(self._places.values(), key=lambda place: ("ash".index(place.kind[0]), place.name))),
            problems=tuple(self._problems),
            missing=tuple(self._missing),
            needs_gain=self._needs_gain,
        )

    def _add(self, place: Place) -> None:
        """What is known of a place from several files together; the later one wins where it says something."""
        key = (place.kind, place.name)
        before = self._places.get(key)
        if before is not None:
            said = {name: getattr(place, name) for name in place.model_fields_set if getattr(place, name) is not None}
            place = before.model_copy(update=said)
        self._places[key] = place

    def _part_of(self, path: Path) -> Path:
        inside = [part for part in self._parts if path.is_relative_to(part)]
        return max(inside, key=lambda part: len(part.parts), default=self._parts[0])

    def _atlas_name(self, part: Path) -> str:
        return "Atlas" if len(self._parts) == 1 else f"Atlas {part.name}"

    def _read_session(self, part: Path) -> None:
        path = part / "EpuSession.dm"
        if path not in self._tree.files:
            return
        try:
            session = self._cache.read(path, read_epu_session)
        except BadInput as error:
            self._problems.append(str(error))
            return
        if len(self._parts) == 1:
            self._name = session.name
        self._needs_gain = self._needs_gain or "non-gain" in (session.movie_format or "").lower()
        for number in session.squares:
            self._add(Place(kind="square", name=f"GridSquare_{number}", parent=self._atlas_name(part)))
        self._read_atlas(part, session.atlas)

    def _read_atlas(self, part: Path, told: str | None) -> None:
        path = self._find_atlas(part, told)
        if path is None:
            return
        try:
            atlas = self._cache.read(path, read_epu_atlas)
        except BadInput as error:
            self._problems.append(str(error))
            return
        name = self._atlas_name(part)
        tiles = tuple(
            Tile(name=tile.image or tile.number, x=tile.stage[0], y=tile.stage[1], image=self._tree.find_image(tile.image))
            for tile in atlas.tiles
        )
        self._add(Place(kind="atlas", name=name, image=self._tree.find_image(atlas.image), tiles=tiles))
        for square in atlas.squares:
            x, y, _ = square.stage
            self._add(Place(kind="square", name=f"GridSquare_{square.number}", parent=name, x=x, y=y))

    def _find_atlas(self, part: Path, told: str | None) -> Path | None:
        """The one that the session names, whose last folders tell it from those of other grids; or the only one."""
        found = [path for path in self._tree.files if path.name == "Atlas.dm"]
        if told:
            ends = [each.lower() for each in PureWindowsPath(told).parts[-4:]]
            named = [path for path in found if [each.lower() for each in path.parts[-4:]] == ends]
            if named:
                return named[0]
        inside = [path for path in found if path.is_relative_to(part)]
        return next((each[0] for each in (inside, found) if len(each) == 1), None)

    def _read_square(self, path: Path) -> None:
        try:
            square: EpuSquare = self._cache.read(path, read_epu_square)
        except BadInput as error:
            self._problems.append(str(error))
            return
        name = f"GridSquare_{square.number}"
        x, y, z = square.stage
        image = self._tree.find_image(square.image)
        state = square.state if square.selected or square.state not in _TOP_STATES else "not selected"
        self._add(Place(kind="square", name=name, x=x, y=y, z=z, state=state, image=image))
        for hole in square.holes:
            if not hole.selected and hole.state in _TOP_STATES:
                continue  # a target that nobody chose
            x, y, z = hole.stage
            image = self._tree.find_image(hole.image)
            own = f"FoilHole_{hole.number}"
            self._add(Place(kind="hole", name=own, parent=name, x=x, y=y, z=z, state=hole.state, image=image))

    def _read_images(self) -> dict[str, Described]:
        """Exposures by name; pictures of squares and holes become places, the newest of each."""
        exposures: dict[str, Described] = {}
        for path in self._tree.files:
            if path.suffix.lower() != ".xml":
                continue
            is_exposure = EXPOSURE.match(path.stem)
            if not (is_exposure or _HOLE.match(path.stem) or _SQUARE_IMAGE.match(path.stem)):
                continue
            try:
                image = self._cache.read(path, read_epu_image)
            except BadInput as error:
                self._problems.append(str(error))
                continue
            if is_exposure:
                exposures[path.stem.lower()] = self._describe(path, image)
            else:
                self._add_picture(path, image)
        return exposures

    def _square_of(self, path: Path) -> str | None:
        return next((folder.name for folder in path.parents if _SQUARE.match(folder.name)), None)

    def _add_picture(self, path: Path, image: EpuImage) -> None:
        hole = _HOLE.match(path.stem)
        square = self._square_of(path)
        name = f"FoilHole_{hole.group('hole')}" if hole else square
        if name is None:  # a copy in `Metadata`, which does not say of which square
            return
        parent = square if hole else self._atlas_name(self._part_of(path))
        x, y, z = image.stage
        self._add(
            Place(
                kind="hole" if hole else "square",
                name=name,
                parent=parent,
                x=x,
                y=y,
                z=z,
                magnification=image.magnification,
                pixel_size=image.pixel_size,
                image_shape=image.shape,
                image=self._tree.find_image(path.stem),
            )
        )

    def _describe(self, path: Path, image: EpuImage) -> Described:
        match = EXPOSURE.match(path.stem)
        assert match
        hole, square = f"FoilHole_{match.group('hole')}", self._square_of(path)
        if square is not None:
            self._add(Place(kind="square", name=square, parent=self._atlas_name(self._part_of(path))))
            self._add(Place(kind="hole", name=hole, parent=square))
        return describe_image(path.stem, hole, image, self._tree.find_image(path.stem), self._part_of(path))

    def _match_movies(self, exposures: dict[str, Described]) -> dict[Path, Described | None]:
        """Files of movies by their exposures. The sum that EPU may store beside a movie has the same name without an ending."""
        movies: dict[Path, Described | None] = {}
        taken: set[str] = set()
        for path, stem, ended in sorted(self._candidates(), key=lambda each: (not each[2], each[0])):
            if stem in taken:
                continue
            if stem in exposures or ended:
                taken.add(stem)
                movies[path] = exposures.get(stem)
        missing = sorted(set(exposures) - taken)
        if missing:
            self._missing.append(_count_missing([exposures[stem].place.name for stem in missing]))
        return dict(sorted(movies.items()))

    def _candidates(self) -> Iterator[tuple[Path, str, bool]]:
        for path in self._tree.files:
            if is_movie(path) and EXPOSURE.match(path.name):
                stem = path.name[: path.name.lower().rindex(find_suffix(path))]
                short = _MOVIE_END.sub("", stem)
                yield path, short.lower(), short != stem or find_suffix(path) == ".eer"


def describe_image(name: str, hole: str, image: EpuImage, picture: Path | None, part: Path) -> Described:
    """An exposure of EPU in the terms of all importers."""
    shift = image.beam_shift
    x, y, z = image.stage
    return Described(
        shot=Shot(
            taken_at=image.taken_at,
            detector=image.detector,
            applied_defocus=image.applied_defocus,
            exposure=image.exposure,
            exposure_time=image.exposure_time,
            frames=image.fractions,
            pixel_size=image.pixel_size,
            tilt=image.tilt,
            image_shift=None,
            beam_shift=shift,
        ),
        place=Place(
            kind="exposure",
            name=name,
            parent=hole,
            x=x,
            y=y,
            z=z,
            magnification=image.magnification,
            pixel_size=image.pixel_size,
            image=picture,
        ),
        voltage=image.voltage,
        image_shape=image.shape,
        binning=image.binning,
        shift=(shift[0] * _SHIFT_UNIT, shift[1] * _SHIFT_UNIT) if shift else None,
        part=str(part),
        gain=image.gain,
    )


def _count_missing(names: list[str]) -> str:
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} exposures of EPU have no movie in the folder: {listed}"
