"""Metadata files of EPU (Thermo Fisher): one XML file beside each image, and `.dm` files, which are XML as well.

| file | reader | holds |
|---|---|---|
| `GridSquare_*.xml`, `FoilHole_*.xml`, `FoilHole_*_Data_*.xml` | `read_epu_image` | how one image or movie was taken |
| `EpuSession.dm` | `read_epu_session` | name, atlas, list of grid squares |
| `Atlas.dm` | `read_epu_atlas` | tiles, and where the grid squares lie |
| `GridSquare_*.dm` | `read_epu_square` | one grid square's holes |

EPU writes lengths in m, exposures in e/m², underfocus negative; the records have this package's units and signs.
Loads no numpy. Source: files of EPU 3.7 to 3.9 (the formats are not published).
"""

import math
from dataclasses import dataclass
from pathlib import Path

from magellon.io.metadata_files import Node, name_file, parse_number, read_xml

_METRE_IN_MICROMETRE = 1e6
_METRE_IN_ANGSTROM = 1e10

Stage = tuple[float | None, float | None, float | None]
"""x, y, z in µm."""


@dataclass(frozen=True)
class EpuImage:
    """How one image or movie was taken. None: the file does not say."""

    pixel_size: float | None
    """Å/px of an image of `shape`: a movie of the same exposure may have twice or four times as many pixels."""
    shape: tuple[int, int] | None
    """(height, width)."""
    binning: int | None
    """Of the image, in physical pixels of the detector."""
    voltage: float | None
    """kV."""
    magnification: float | None
    applied_defocus: float | None
    """Å, positive = underfocus: what EPU set. The lens' read-out, also in the file, is another number."""
    exposure: float | None
    """e/Å² in total. None when the file says 0."""
    exposure_time: float | None
    """s."""
    fractions: int | None
    """Frames written, where the movie is not EER."""
    frame_rate: float | None
    """Frames a second of a detector that writes EER."""
    beam_shift: tuple[float, float] | None
    """As in the file: a deflector setting without unit, of which 1 is about 26 µm on the specimen."""
    image_shift: tuple[float, float] | None
    """Likewise."""
    stage: Stage
    tilt: float | None
    """Degrees about the stage's first axis."""
    detector: str | None
    """Camera's commercial name and serial number, as far as known."""
    gain: str | None
    """File name of the gain reference."""
    taken_at: str | None
    """ISO 8601."""
    software: str | None
    instrument: str | None
    counted: bool | None
    phase_plate: bool | None


@dataclass(frozen=True)
class EpuSession:
    """`EpuSession.dm`."""

    name: str
    atlas: str | None
    """Path of the atlas as the microscope's computer knows it."""
    squares: tuple[str, ...]
    """Numbers of the grid squares."""
    movie_format: str | None
    grid: str | None
    software: str | None


@dataclass(frozen=True)
class EpuTile:
    """One image of an atlas."""

    number: str
    image: str | None
    stage: Stage


@dataclass(frozen=True)
class EpuNode:
    """A grid square as seen on the atlas."""

    number: str
    stage: Stage


@dataclass(frozen=True)
class EpuAtlas:
    """`Atlas.dm`."""

    number: str
    name: str | None
    image: str | None
    """Name of the stitched image, without suffix."""
    magnification: float | None
    tiles: tuple[EpuTile, ...]
    squares: tuple[EpuNode, ...]


@dataclass(frozen=True)
class EpuHole:
    """A target of a grid square."""

    number: str
    stage: Stage
    state: str | None
    selected: bool
    image: str | None
    """Name of the newest image, without suffix."""


@dataclass(frozen=True)
class EpuSquare:
    """`GridSquare_*.dm`."""

    number: str
    stage: Stage
    state: str | None
    selected: bool
    image: str | None
    holes: tuple[EpuHole, ...]


def read_epu_image(path: Path | str) -> EpuImage:
    """Read the XML file of an image or a movie.

    Raises:
        BadInput: damaged, or another kind of file.
    """
    root = read_xml(path, "MicroscopeImage")
    custom = _read_pairs(root.find("CustomData"))
    acquisition = root.find("microscopeData", "acquisition") or root
    optics = root.find("microscopeData", "optics") or root
    camera = acquisition.find("camera") or acquisition
    detector = f"Detectors[{custom.get('BinaryResult.Detector', '')}]."
    exposure = parse_number(custom.get("Dose"))
    software = [root.text("microscopeData", "core", part) for part in ("ApplicationSoftware", "ApplicationSoftwareVersion")]
    name = [custom.get("DetectorCommercialName") or custom.get(f"{detector}CommercialName") or camera.text("Name")]
    name.append(custom.get(f"{detector}CameraSerialNumber"))
    position = root.find("microscopeData", "stage", "Position")
    return EpuImage(
        pixel_size=_scale(root.number("SpatialScale", "pixelSize", "x", "numericValue"), _METRE_IN_ANGSTROM) or None,
        shape=_read_shape(camera),
        binning=_whole(camera.number("Binning", "x")),
        voltage=_scale(root.number("microscopeData", "gun", "AccelerationVoltage"), 1e-3) or None,
        magnification=optics.number("TemMagnification", "NominalMagnification"),
        applied_defocus=_scale(parse_number(custom.get("AppliedDefocus")), -_METRE_IN_ANGSTROM),
        exposure=_scale(exposure, 1 / _METRE_IN_ANGSTROM**2) if exposure and exposure > 0 else None,
        exposure_time=camera.number("ExposureTime"),
        fractions=_read_fractions(camera),
        frame_rate=parse_number(custom.get(f"{detector}FrameRate")),
        beam_shift=_read_pair(optics.find("BeamShift")),
        image_shift=_read_pair(optics.find("ImageShift")),
        stage=_read_stage(position),
        tilt=_scale(position.number("A") if position else None, 180 / math.pi),
        detector=" ".join(part for part in name if part) or None,
        gain=name_file(custom.get(f"{detector}GainReference") or custom.get(f"{detector}EerGainReference")),
        taken_at=acquisition.text("acquisitionDateTime"),
        software=" ".join(part for part in software if part) or None,
        instrument=root.text("microscopeData", "instrument", "InstrumentModel"),
        counted=_truth(custom.get(f"{detector}ElectronCounted")),
        phase_plate=_truth(custom.get("PhasePlateUsed")),
    )


def read_epu_session(path: Path | str) -> EpuSession:
    """Read `EpuSession.dm`.

    Raises:
        BadInput: damaged, or another kind of file.
    """
    root = read_xml(path, "EpuSessionXml")
    samples = root.find("Samples", "_items")
    sample = next(samples.children("SampleXml"), None) if samples else None
    squares: list[str] = []
    pairs = sample.find("GridSquares", "m_serializationArray") if sample else None
    if pairs:
        squares = [number for pair in pairs.children("KeyValuePair*") if (number := pair.text("key"))]
    version = root.find("Version")
    parts = [version.text(f"_{part}") for part in ("Major", "Minor")] if version else []
    return EpuSession(
        name=root.text("Name") or Path(path).parent.name,
        atlas=sample.text("AtlasId") if sample else None,
        squares=tuple(squares),
        movie_format=root.text("DoseFractionsOutputFormat"),
        grid=sample.text("GridType") if sample else None,
        software=".".join(part for part in parts if part) or None,
    )


def read_epu_atlas(path: Path | str) -> EpuAtlas:
    """Read `Atlas.dm`. A grid square seen on several tiles is listed once.

    Raises:
        BadInput: damaged, or another kind of file.
    """
    root = read_xml(path, "AtlasSessionXml")
    atlas = root.find("Atlas") or root
    tiles: list[EpuTile] = []
    squares: dict[str, EpuNode] = {}
    items = atlas.find("TilesEfficient", "_items")
    for tile in items.children("TileXml") if items else ():
        number = tile.text("Id")
        if number is None:  # the list's spare room
            continue
        tiles.append(EpuTile(number, tile.text("TileImageReference", "BaseFileName"), _read_stage(tile.find("StagePosition"))))
        pairs = tile.find("Nodes", "KeyValuePairs")
        for pair in pairs.children("KeyValuePair*") if pairs else ():
            node = pair.find("value")
            key = pair.text("key")
            if node and key:
                where = node.find("AlignedStagePosition") or node.find("StagePosition")
                squares.setdefault(key, EpuNode(key, _read_stage(where)))
    return EpuAtlas(
        number=atlas.text("Id") or "",
        name=root.text("Name"),
        image=atlas.text("AtlasImageReference", "BaseFileName"),
        magnification=None,
        tiles=tuple(tiles),
        squares=tuple(squares.values()),
    )


def read_epu_square(path: Path | str) -> EpuSquare:
    """Read `GridSquare_*.dm`.

    Raises:
        BadInput: damaged, or another kind of file.
    """
    root = read_xml(path, "GridSquareXml")
    holes = []
    pairs = root.find("TargetLocations", "TargetLocationsEfficient", "m_serializationArray")
    for pair in pairs.children("KeyValuePair*") if pairs else ():
        hole, number = pair.find("value"), pair.text("key")
        if hole is None or number is None:
            continue
        corrected = hole.find("CorrectedStagePosition") if hole.text("IsPositionCorrected") == "true" else None
        holes.append(
            EpuHole(
                number=number,
                stage=_read_stage(corrected or hole.find("StagePosition")),
                state=hole.text("State"),
                selected=hole.text("Selected") == "true",
                image=hole.text("Image", "BaseFileName"),
            )
        )
    return EpuSquare(
        number=root.text("Id") or "",
        stage=_read_stage(root.find("Position")),
        state=root.text("State"),
        selected=root.text("Selected") == "true",
        image=root.text("Image", "BaseFileName"),
        holes=tuple(holes),
    )


def _read_pairs(custom: Node | None) -> dict[str, str]:
    """`CustomData`: names and values of what has no element of its own."""
    pairs = custom.children("KeyValueOf*") if custom else ()
    found = ((pair.text("Key"), pair.text("Value")) for pair in pairs)
    return {key: value for key, value in found if key and value}


def _read_fractions(camera: Node) -> int | None:
    settings = camera.find("CameraSpecificInput")
    for pair in settings.children("KeyValueOf*") if settings else ():
        if pair.text("Key") == "FractionationSettings":
            return _whole(pair.number("Value", "NumberOffractions"))
    return None


def _read_shape(camera: Node) -> tuple[int, int] | None:
    height, width = _whole(camera.number("ReadoutArea", "height")), _whole(camera.number("ReadoutArea", "width"))
    return (height, width) if height and width else None


def _read_pair(node: Node | None) -> tuple[float, float] | None:
    x, y = (node.number("_x"), node.number("_y")) if node else (None, None)
    return None if x is None or y is None else (x, y)


def _read_stage(node: Node | None) -> Stage:
    if node is None:
        return (None, None, None)
    x, y, z = (_scale(node.number(axis), _METRE_IN_MICROMETRE) for axis in "XYZ")
    return (x, y, z)


def _scale(value: float | None, factor: float) -> float | None:
    """Converted to twelve digits, so that -4e-07 m is 4000 Å, and never -0."""
    return None if value is None else float(f"{value * factor:.12g}") + 0.0


def _whole(value: float | None) -> int | None:
    return int(value) if value is not None and value == int(value) and 0 < value < 1 << 24 else None


def _truth(text: str | None) -> bool | None:
    return None if text is None else text == "true"
