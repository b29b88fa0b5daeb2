"""The file beside a movie in which the acquisition software describes it, and how many frames it promises.

EPU writes `NAME.xml` beside `NAME_Fractions.tiff` or `NAME_EER.eer`, SerialEM `NAME.tif.mdoc`; others `NAME.json`.
"""

import json
import re
from collections.abc import Container
from pathlib import Path, PurePosixPath

from magellon.platform.sessions.definition import Source
from magellon.platform.sessions.references import looks_like_reference

_LARGEST = 4 << 20
_EPU_ENDING = re.compile(r"(_fractions|_eer|-gain)+$", re.IGNORECASE)
_EPU_EXPOSURE = re.compile(r"FoilHole_\d+_Data_", re.IGNORECASE)
_MDOC_PATH = re.compile(r"^SubFramePath\s*=\s*(.+?)\s*$", re.MULTILINE)
_MDOC_FRAMES = re.compile(r"^NumSubFrames\s*=\s*(\d+)\s*$", re.MULTILINE)
_EPU_FRAMES = re.compile(r"<(?:\w+:)?NumberOf+ractions>(\d+)<", re.IGNORECASE)
_EER_RATE = re.compile(r"FrameRate</(?:\w+:)?Key>\s*<(?:\w+:)?Value[^>]*>([\d.eE+-]+)<")
_EER_TIME = re.compile(r"\.ExposureTime</(?:\w+:)?Key>\s*<(?:\w+:)?Value[^>]*>([\d.eE+-]+)<")
_SURELY = 0.95
"""An EER movie's number of raw frames is exposure time x frame rate, give or take a few."""


def looks_like_movie(source: Source, path: str) -> bool:
    """Whether a file with a movie's suffix is one, by its name. EPU may store the sum before the movie, without an ending."""
    if source in ("plain", "session.json"):
        return True
    file = PurePosixPath(path)
    if source == "epu":
        ended = _EPU_ENDING.search(file.stem.split(".")[0]) is not None or ".eer" in file.suffixes
        return _EPU_EXPOSURE.match(file.name) is not None and ended
    return not looks_like_reference(Path(path))


def find_metadata(movie: str, names: Container[str]) -> str | None:
    """Which of the names in a movie's folder is that of its metadata file."""
    stem = PurePosixPath(movie).stem
    bare = _EPU_ENDING.sub("", stem)
    for name in (f"{movie}.mdoc", f"{stem}.mdoc", f"{bare}.xml", f"{stem}.xml", f"{stem}.json", f"{movie}.json"):
        if name in names:
            return name
    return None


def read_promised_frames(path: Path, movie: str) -> int | None:
    """How many frames a finished movie has at least, when its metadata says so; None when it does not, or cannot be read (yet).

    Raises:
        OSError: the filesystem failed.
    """
    with path.open("rb") as file:
        text = file.read(_LARGEST).decode(errors="replace")
    if path.suffix.lower() == ".mdoc":
        return _read_mdoc(text, movie)
    if path.suffix.lower() == ".xml":
        return _read_xml(text)
    return _read_json(text)


def _read_mdoc(text: str, movie: str) -> int | None:
    """Of the section that names the movie; where there is but one, of that."""
    sections = [section for section in re.split(r"^\[", text, flags=re.MULTILINE) if _MDOC_FRAMES.search(section)]
    named = [section for section in sections if _file_name(section) == movie]
    chosen = named or (sections if len(sections) == 1 else [])
    return int(_MDOC_FRAMES.findall(chosen[0])[0]) if chosen else None


def _file_name(section: str) -> str:
    found = _MDOC_PATH.search(section)
    return re.split(r"[\\/]", found.group(1))[-1] if found else ""


def _read_xml(text: str) -> int | None:
    if not text.rstrip().endswith(">"):
        return None  # still being written
    found = _EPU_FRAMES.search(text)
    if found:
        return int(found.group(1))
    rate, exposure = _EER_RATE.search(text), _EER_TIME.search(text)
    try:
        return int(_SURELY * float(rate.group(1)) * float(exposure.group(1))) if rate and exposure else None
    except (ValueError, OverflowError):
        return None


def _read_json(text: str) -> int | None:
    try:
        frames = json.loads(text).get("frames")
    except (ValueError, AttributeError):
        return None
    return frames if isinstance(frames, int) and not isinstance(frames, bool) and frames > 0 else None
