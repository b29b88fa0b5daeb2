"""Where the files of a session appear: the names that STAR files use for them."""

from collections.abc import Mapping
from pathlib import Path

_DEFAULTS = {"micrograph": "micrographs", "movie": "movies"}


def place_file(folders: Mapping[str, str], category: str, path: Path) -> str:
    """The name of a result relative to the session folder.

    Args:
        folders: category > folder; a category that is not in it has the folder of its own name.
    """
    folder = folders.get(category, _DEFAULTS.get(category, category)).strip("/")
    return f"{folder}/{path.name}" if folder else path.name
