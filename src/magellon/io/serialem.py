"""Metadata files of SerialEM: `.mdoc` beside movies and montages, and `.nav` (navigator), both lists of `key = value`.

SerialEM writes stage positions, shifts and defocus in µm, underfocus negative, pixel sizes in Å; the records have this
package's units and signs. Loads no numpy. Source: "File Formats" of the SerialEM manual.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from magellon.errors import BadInput
from magellon.io.metadata_files import name_file, parse_number, read_text, read_xml

_SECTION = re.compile(r"\[\s*([^=\]]+?)\s*=\s*(.*?)\s*\]\s*$")
_MICROMETRE_IN_ANGSTROM = 1e4
_TYPES = {0: "point", 1: "polygon", 2: "map"}


@dataclass(frozen=True)
class MdocSection:
    """`[FrameSet = 0]` or `[ZValue = 3]`, and its keys."""

    kind: str
    name: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Mdoc:
    """A whole file, as written."""

    fields: dict[str, str]
    """Of the file as a whole."""
    titles: tuple[str, ...]
    sections: tuple[MdocSection, ...]


@dataclass(frozen=True)
class SerialEmImage:
    """How one movie, or one image of a montage or tilt series, was taken. None: the file does not say."""

    section: str
    """`FrameSet` for a movie on its own, `ZValue` for an image of a stack."""
    movie: str | None
    """File name of the frames."""
    pixel_size: float | None
    """Å/px of an image of `binning`."""
    binning: float | None
    """0.5 = super-resolution."""
    voltage: float | None
    magnification: float | None
    exposure: float | None
    """e/Å² in total. None when the file says 0."""
    frames: int | None
    exposure_per_frame: float | None
    """e/Å², when all frames have the same."""
    exposure_time: float | None
    applied_defocus: float | None
    """Å, positive = underfocus: the target."""
    measured_defocus: float | None
    """Å, positive = underfocus: the lens' read-out."""
    image_shift: tuple[float, float] | None
    """µm on the specimen along the image's axes."""
    hole: tuple[str, str] | None
    """Hole and position in it of a multi-shot pattern, which say exactly which beam shift was used."""
    stage: tuple[float | None, float | None, float | None]
    """x, y, z in µm."""
    tilt: float | None
    """Degrees."""
    detector: str | None
    gain: str | None
    defects: str | None
    """File names."""
    item: str | None
    """Label of the navigator item at which it was taken."""
    taken_at: str | None
    """ISO 8601."""


@dataclass(frozen=True)
class NavigatorItem:
    """One entry of a navigator file."""

    label: str
    kind: str
    """`point`, `polygon` or `map`."""
    number: str | None
    """Unique number, by which other items refer to it (`MapID`)."""
    drawn_on: str | None
    """Number of the map on which it was drawn."""
    stage: tuple[float | None, float | None, float | None]
    map_file: str | None
    magnification_index: int | None
    montage: bool
    acquire: bool
    note: str | None = None
    fields: dict[str, str] = field(default_factory=dict, compare=False)


def parse_mdoc(text: str, path: Path | str = "mdoc") -> Mdoc:
    """Take a file apart without interpreting it.

    Raises:
        BadInput: it is no such file.
    """
    fields: dict[str, str] = {}
    titles: list[str] = []
    sections: list[MdocSection] = []
    target = fields
    for line in text.splitlines():
        header = _SECTION.match(line.strip())
        if header and header.group(1) == "T":
            titles.append(header.group(2))
        elif header:
            sections.append(MdocSection(header.group(1), header.group(2), target := {}))
        elif "=" in line:
            key, _, value = line.partition("=")
            if key.strip() == "T":
                titles.append(value.strip())
            else:
                target[key.strip()] = value.strip()
        elif line.strip() and not line.lstrip().startswith(("#", ";")):
            raise BadInput(f"{path}: not a list of 'key = value': {line.strip()[:60]!r}")
    if not sections and not fields:
        raise BadInput(f"{path}: holds no 'key = value'")
    return Mdoc(fields, tuple(titles), tuple(sections))


def read_mdoc(path: Path | str) -> tuple[SerialEmImage, ...]:
    """All images of an `.mdoc` or `.idoc` file.

    Sub-areas of one movie (`FrameTSStartEndFrames`) belong to it and are not listed.

    Raises:
        BadInput: not such a file, or it describes no image.
    """
    mdoc = parse_mdoc(read_text(path), path)
    images = [each for each in mdoc.sections if each.kind in ("FrameSet", "ZValue", "Image")]
    if not images:
        raise BadInput(f"{path}: describes no image")
    return tuple(_read_image(mdoc, each) for each in images if "FrameTSStartEndFrames" not in each.fields)


def _read_image(mdoc: Mdoc, section: MdocSection) -> SerialEmImage:
    values = {**mdoc.fields, **section.fields}

    def number(key: str) -> float | None:
        return parse_number(values.get(key))

    frames, per_frame = _read_frames(values)
    exposure = number("ExposureDose")
    stage = _numbers(values.get("StagePosition"), 2)
    hole = values.get("MultishotHoleAndPosition", "").rpartition("-")
    return SerialEmImage(
        section=section.kind,
        movie=name_file(values.get("SubFramePath")),
        pixel_size=number("PixelSpacing") or None,
        binning=number("Binning") or None,
        voltage=number("Voltage") or None,
        magnification=number("Magnification"),
        exposure=exposure if exposure and exposure > 0 else None,
        frames=frames,
        exposure_per_frame=per_frame,
        exposure_time=number("ExposureTime"),
        applied_defocus=_convert_defocus(number("TargetDefocus")),
        measured_defocus=_convert_defocus(number("Defocus")),
        image_shift=_pair(values.get("ImageShift")),
        hole=(hole[0], hole[2]) if hole[0] and hole[2] else None,
        stage=(stage[0], stage[1], number("StageZ")) if stage else (None, None, number("StageZ")),
        tilt=number("TiltAngle"),
        detector=_read_detector(mdoc, values),
        gain=name_file(values.get("GainReference")),
        defects=name_file(values.get("DefectFile")),
        item=values.get("NavigatorLabel") or None,
        taken_at=_read_time(values.get("DateTime")),
    )


def _convert_defocus(value: float | None) -> float | None:
    """From µm, underfocus negative, to Å, underfocus positive."""
    return None if value is None else float(f"{-value * _MICROMETRE_IN_ANGSTROM:.12g}") + 0.0


def _read_frames(values: dict[str, str]) -> tuple[int | None, float | None]:
    """`FrameDosesAndNumber` is a list of exposure and number of frames; exposures of 0 mean unknown."""
    listed = _numbers(values.get("FrameDosesAndNumber"), None) or []
    runs = [(exposure, int(count)) for exposure, count in zip(listed[0::2], listed[1::2], strict=False) if count >= 1]
    total = parse_number(values.get("NumSubFrames"))
    frames = int(total) if total and total >= 1 else sum(count for _, count in runs) or None
    exposures = {exposure for exposure, _ in runs}
    return frames, exposures.pop() if len(exposures) == 1 and min(exposures) > 0 else None


def _read_detector(mdoc: Mdoc, values: dict[str, str]) -> str | None:
    """The title's name of the camera where it gives one, with the camera's number."""
    title = next(iter(mdoc.titles), "")
    named = re.search(r"Digitized by (.+?) on ", title)
    number = values.get("CameraIndex")
    parts = [named.group(1) if named else "", f"camera {number}" if number is not None else ""]
    serial = next((value for key, value in values.items() if key.endswith("SensorModuleSerialNumber")), "")
    return " ".join(part for part in (*parts, serial) if part) or None


def _read_time(text: str | None) -> str | None:
    """SerialEM writes `25-Sep-23  14:13:26` or `2023-Sep-25  14:13:26`, without a time zone."""
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    match = re.match(r"(\d+)-(\w{3})-(\d+)\s+(\d+):(\d+):(\d+)", text or "")
    if not match or match.group(2) not in months:
        return None
    first, last = match.group(1), match.group(3)
    year, day = (first, last) if len(first) == 4 else (last, first)
    century = 0 if len(year) == 4 else 2000 if int(year) < 80 else 1900
    hour, minute, second = (int(match.group(part)) for part in (4, 5, 6))
    try:
        return datetime(int(year) + century, months.index(match.group(2)) + 1, int(day), hour, minute, second).isoformat()
    except ValueError:
        return None


def read_navigator(path: Path | str) -> tuple[NavigatorItem, ...]:
    """All items of a `.nav` file, as text or as XML.

    Raises:
        BadInput: not such a file.
    """
    text = read_text(path)
    if text.lstrip().startswith("<"):
        entries = []
        for item in read_xml(path, "navigator").children("Item"):
            entries.append((item.element.get("name", ""), {each.name: each.text() or "" for each in item.children()}))
    else:
        mdoc = parse_mdoc(text, path)
        if "AdocVersion" not in mdoc.fields:
            raise BadInput(f"{path}: not a navigator file: it has no AdocVersion")
        entries = [(section.name, section.fields) for section in mdoc.sections if section.kind == "Item"]
    return tuple(_read_item(label, fields) for label, fields in entries)


def _read_item(label: str, fields: dict[str, str]) -> NavigatorItem:
    stage = _numbers(fields.get("StageXYZ"), 3)
    index, drawn = parse_number(fields.get("MapMagInd")), fields.get("DrawnID")
    return NavigatorItem(
        label=label,
        kind=_TYPES.get(int(parse_number(fields.get("Type")) or 0), "point"),
        number=fields.get("MapID") or None,
        drawn_on=drawn if drawn and drawn != "0" else None,
        stage=(stage[0], stage[1], stage[2]) if stage else (None, None, None),
        map_file=name_file(fields.get("MapFile")),
        magnification_index=None if index is None else int(index),
        montage=fields.get("MapMontage") == "1",
        acquire=fields.get("Acquire") == "1",
        note=fields.get("Note") or None,
        fields=fields,
    )


def _pair(text: str | None) -> tuple[float, float] | None:
    numbers = _numbers(text, 2)
    return (numbers[0], numbers[1]) if numbers else None


def _numbers(text: str | None, count: int | None) -> list[float] | None:
    """Numbers between spaces; None when one is not a number, or when they are not `count`."""
    numbers = [parse_number(word) for word in (text or "").split()]
    if not numbers or any(each is None for each in numbers) or (count is not None and len(numbers) != count):
        return None
    return [each for each in numbers if each is not None]
