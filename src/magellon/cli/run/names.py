"""What a movie or micrograph is called: its file name without suffix, unless two files share that."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from magellon.errors import BadInput

MADE_FROM = ("_noDW", "_DW", "_EVN", "_ODD", "_denoised")
"""Suffixes of what was made from a micrograph: `a_noDW.mrc` is still micrograph `a`."""


def name_uniquely(paths: Sequence[Path]) -> list[str]:
    """A name per file, in order.

    Raises:
        BadInput: the same file name twice; their results could not be told apart.
    """
    stems = Counter(path.stem for path in paths)
    names = [path.stem if stems[path.stem] == 1 else path.name for path in paths]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        both = [str(path) for path, name in zip(paths, names, strict=True) if name == twice[0]]
        raise BadInput(f"two files of the same name: {' and '.join(both[:2])}; run them into different folders")
    return names


def name_micrograph(path: Path) -> str:
    """The micrograph's name, without the suffix of a variant."""
    stem = path.stem
    for suffix in MADE_FROM:
        if stem.endswith(suffix) and len(stem) > len(suffix):
            return stem[: -len(suffix)]
    return stem
