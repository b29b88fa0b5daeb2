"""Descriptions of the installed backends, without importing one."""

import os
from collections.abc import Sequence
from pathlib import Path

from magellon.contracts import CONTRACTS
from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.store.environments import CataloguePlace
from magellon.platform.store.home import DEFAULT_HOME, find_plugins_folder


def read_descriptions(only: Sequence[str] = ()) -> list[Description]:
    """Installed backends, categories in pipeline order, then by name; `only` names categories or `category/backend`.

    Cached per user until a package changes, so that `--help` does not have to load torch.

    Raises:
        BadInput: they cannot be described at all.
    """
    order = list(CONTRACTS)

    def place(each: Description) -> tuple[int, str]:
        return order.index(each.category) if each.category in order else len(order), each.key

    return sorted(read_catalogue(CataloguePlace(_cache_file(), find_plugins()), only).values(), key=place)


def find_plugins() -> Path:
    """The plugins of whoever names no home."""
    return find_plugins_folder(DEFAULT_HOME)


def _cache_file() -> Path | None:
    """Where descriptions are kept; None where nothing can be written."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "magellon"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / "backends.json" if os.access(folder, os.W_OK) else None


PREFERRED = {"particle_picking": "dog"}
"""Which backend runs where only the category is named and there are several."""


def choose_backend(target: str) -> Description:
    """The backend that CATEGORY or CATEGORY/BACKEND names.

    Raises:
        BadInput: there is none, or it cannot be used here.
    """
    category, _, name = target.partition("/")
    category = category.replace("-", "_")
    fitting = read_descriptions([category])
    if not fitting:
        known = ", ".join(sorted({each.category for each in read_descriptions()})) or "none"
        raise BadInput(f"no backend is installed for {category!r}; there are backends for {known}")
    if name:
        named = [each for each in fitting if each.name == name]
        if not named:
            raise BadInput(f"{category} has no backend {name!r}; there are {', '.join(each.name for each in fitting)}")
        chosen = named[0]
    else:
        chosen = next((each for each in fitting if each.name == PREFERRED.get(category)), fitting[0])
    if chosen.error:
        raise BadInput(f"{chosen.key} cannot be used: {chosen.error}")
    return chosen
