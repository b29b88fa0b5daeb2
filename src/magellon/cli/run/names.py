"""What a movie or micrograph is called: its file name without suffix; where two files share that, with its folder or suffix."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from magellon.errors import BadInput

MADE_FROM = ("_noDW", "_DW", "_EVN", "_ODD", "_denoised")
"""Suffixes of what was made from a micrograph: `a_noDW.mrc` is still micrograph `a`."""


def name_uniquely(paths: Sequence[Path]) -> list[str]:
    """A name per file, in order.

    Raises:
        BadInput: names that cannot be told apart.
    """
    stems = Counter(path.stem for path in paths)
    names: dict[str, Path] = {}
    for path in paths:
        choices = (
            [path.stem]
            if stems[path.stem] == 1
            else [f"{path.absolute().parent.name}_{path.stem}", path.name.replace(".", "_")]
        )
        free = [name for name in choices if name not in names]
        if not free:
            raise BadInput(f"{path} and {names[choices[-1]]} have the same name; run them into different folders")
        names[free[0]] = path
    return list(names)


def name_micrograph(path: Path) -> str:
    """The micrograph's name, without the suffix of a variant."""
    stem = path.stem
    for suffix in MADE_FROM:
        if stem.endswith(suffix) and len(stem) > len(suffix):
            return stem[: -len(suffix)]
    return stem
