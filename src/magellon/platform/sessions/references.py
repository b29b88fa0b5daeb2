"""The gain reference and the defects of a session: found among its files, and checked against its movies."""

import filecmp
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from magellon.errors import BadInput
from magellon.io.files import find_suffix
from magellon.io.gain_header import GAIN_SUFFIXES, fits_movie, read_defects_size, read_gain_size
from magellon.platform.sessions.tree import HeaderCache, Tree

_GAIN_NAME = re.compile(r"(^|[_\W])(gain|gainref|gainreference|countref|superref|flatfield)([_\W\d]|$)", re.IGNORECASE)
_DEFECTS_NAME = re.compile(r"(^|[_\W])(defects?|defectmap|badpixels?)([_\W\d]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class References:
    """What a detector's movies are corrected with."""

    gain: Path | None = None
    defects: Path | None = None
    problems: tuple[str, ...] = ()


def looks_like_reference(path: Path) -> bool:
    """Whether a file is a gain reference or a map of defects by its name, and so no movie."""
    return bool(_GAIN_NAME.search(path.stem) or _DEFECTS_NAME.search(path.stem))


def find_references(
    tree: Tree, cache: HeaderCache, named: tuple[str | None, str | None], shape: tuple[int, int] | None, required: bool
) -> References:
    """Look for gain and defects.

    Args:
        named: file names of gain and defects that the metadata give.
        shape: (height, width) of the movies.
        required: whether movies are known to be stored without the gain applied.
    """
    problems: list[str] = []
    gain = _find_one(tree, named[0], "gain reference", _list_gains(tree), problems)
    defects = _find_one(tree, named[1], "defect file", _list_defects(tree), problems) if named[1] or gain else None
    if gain is not None and shape is not None:
        gain = _check(gain, cache, read_gain_size, shape, problems)
    if defects is not None and shape is not None:
        defects = _check(defects, cache, read_defects_size, shape, problems)
    if gain is None and required and not problems:
        problems.append("the movies are stored without the gain applied, and no gain reference was found; give --gain")
    return References(gain, defects, tuple(problems))


def check_references(gain: Path | None, defects: Path | None, cache: HeaderCache, shape: tuple[int, int]) -> None:
    """What a person gave is used or refused, and not left out.

    Raises:
        BadInput: damaged, or of a size that no rotation and no whole factor brings to that of the movies.
    """
    problems: list[str] = []
    if gain is not None:
        _check(gain, cache, read_gain_size, shape, problems)
    if problems:
        raise BadInput(problems[0])


def _list_gains(tree: Tree) -> list[Path]:
    return [
        path
        for path in tree.files
        if find_suffix(path) in GAIN_SUFFIXES and (_GAIN_NAME.search(path.stem) or find_suffix(path) == ".gain")
    ]


def _list_defects(tree: Tree) -> list[Path]:
    suffixes = {".txt", *GAIN_SUFFIXES}
    return [path for path in tree.files if find_suffix(path) in suffixes and _DEFECTS_NAME.search(path.stem)]


def _find_one(tree: Tree, named: str | None, what: str, others: Sequence[Path], problems: list[str]) -> Path | None:
    option = "--gain" if what.startswith("gain") else "--defects"
    if named:
        found = tree.find(named)
        differing = [path for path in tree.find_all(named)[1:] if found and not _is_same(path, found)]
        if found and differing:
            listed = ", ".join(str(path.relative_to(tree.folder)) for path in (found, *differing[:2]))
            problems.append(
                f"{1 + len(differing)} files named {named!r} differ: {listed}; the first is used; say which with {option}"
            )
        if found is None:
            stem = Path(named).stem.lower()
            found = next((path for path in others if path.stem.lower() == stem), None)
        if found is not None:
            return found
        problems.append(f"the {what} {named!r} that the metadata name is not in the folder")
        return None
    if len(others) > 1:
        listed = ", ".join(str(path.relative_to(tree.folder)) for path in others[:3])
        problems.append(f"{len(others)} files could be the {what}: {listed}; say which with {option}")
        return None
    return others[0] if others else None


def _is_same(path: Path, other: Path) -> bool:
    """Copies of one file beside each batch of movies are nothing to speak of."""
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False


def _check(path: Path, cache: HeaderCache, reader, shape: tuple[int, int], problems: list[str]) -> Path | None:  # type: ignore[no-untyped-def]
    try:
        size = cache.read(path, reader)
    except BadInput as error:
        problems.append(f"{error}; it is not used")
        return None
    if size is not None and not fits_movie(size, shape):
        sizes = f"{size[1]} x {size[0]} px, no whole multiple or part of the movies' {shape[1]} x {shape[0]}"
        problems.append(f"{path}: {sizes}; it is not used")
        return None
    return path
