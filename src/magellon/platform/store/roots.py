"""Rooted paths: `ROOT:relative/path`. Messages and the ledger hold only these; each machine maps the roots to its folders."""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from magellon.contracts import Record
from magellon.errors import BadInput, Transient

HOME_ROOT = "home"
_SAMPLE = 64 << 10


class Root(Record):
    """A folder with data, and a file in it by which another machine knows that it sees the same folder."""

    name: str
    path: str
    sample: str | None = None
    """Relative path of a file; None in an empty folder."""
    sample_size: int = 0
    sample_hash: str = ""
    """sha256 of its first 64 kB."""


@dataclass(frozen=True)
class Roots:
    """The roots as this machine sees them."""

    folders: Mapping[str, Path]

    def resolve(self, rooted: str | Path) -> Path:
        """The absolute path on this machine.

        Raises:
            Transient: no such root is known here (yet).
        """
        return Path(self.resolve_text(str(rooted)))

    def resolve_text(self, rooted: str) -> str:
        """The same as text, for what is done for every task."""
        name, separator, relative = rooted.partition(":")
        if not separator or name not in self.folders:
            raise Transient(f"{rooted}: no data root {name!r} on this machine")
        return os.path.join(self.folders[name], relative)

    def express(self, path: Path) -> str:
        """The rooted form of an absolute path, by the deepest root that holds it.

        Raises:
            BadInput: it lies in no root.
        """
        rooted = self.find(path)
        if rooted is None:
            raise BadInput(f"{path} lies in no known data root")
        return rooted

    def find(self, path: Path) -> str | None:
        """The same, or None."""
        text, best, name = str(path), "", None
        for known, place in self.folders.items():
            folder = str(place)
            if len(folder) > len(best) and (text == folder or text.startswith(folder.rstrip("/") + "/")):
                best, name = folder, known
        return None if name is None else f"{name}:{text[len(best) :].lstrip('/') or '.'}"


def hash_sample(path: Path) -> str:
    """sha256 of the first 64 kB of a file."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(_SAMPLE)).hexdigest()


def describe_root(name: str, folder: Path, sample: Path | None) -> Root:
    """A root with the sample others check."""
    if sample is None:
        return Root(name=name, path=str(folder))
    return Root(
        name=name,
        path=str(folder),
        sample=sample.relative_to(folder).as_posix(),
        sample_size=sample.stat().st_size,
        sample_hash=hash_sample(sample),
    )


def renew_sample(root: Root) -> Root:
    """The root with its sample as it is now: files of a session may change or go, and another one serves as well."""
    folder = Path(root.path)
    choices = [folder / root.sample] if root.sample else []
    with contextlib.suppress(OSError):
        choices += sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for sample in choices:
        with contextlib.suppress(OSError):
            if sample.is_file():
                return describe_root(root.name, folder, sample)
    return describe_root(root.name, folder, None)


def check_root(root: Root, folder: Path) -> None:
    """Whether `folder` on this machine is the root the server means.

    Raises:
        BadInput: the sample file is missing or another one.
    """
    if root.sample is None:
        return
    sample = folder / root.sample
    try:
        size, digest = sample.stat().st_size, hash_sample(sample)
    except OSError as error:
        raise BadInput(f"wrong mount: data root {root.name!r} at {folder}: {root.sample}: {error.strerror}") from error
    if (size, digest) != (root.sample_size, root.sample_hash):
        raise BadInput(f"wrong mount: data root {root.name!r} at {folder}: {root.sample} is not the file the server sees")


_LONGEST_PATH = 4096


def confine_path(given: str | Path, folders: Iterable[Path], closed: Iterable[Path] = ()) -> Path:
    """The real path behind one that somebody gave, if it lies in one of the folders once all symbolic links are followed.

    What lies in a closed folder is refused even if one of the others holds it: the server's state may lie in an open home.

    Whether something exists outside of them is not told. The check is worth as much as the folders are: who may write there
    can change a link after it.

    Raises:
        BadInput: the path is not absolute, is none, leads out of the folders, or nothing is there.
    """
    text = str(given)
    shown = ascii(text[:200])
    if not text.startswith("/") or len(text) > _LONGEST_PATH or "\0" in text:
        raise BadInput(f"{shown}: an absolute path of at most {_LONGEST_PATH} characters is needed")
    outside = BadInput(f"{shown} lies in none of the folders that are open to this server")
    try:
        real = Path(text).resolve()
        allowed = any(real.is_relative_to(folder.resolve()) for folder in folders)
        allowed = allowed and not any(real.is_relative_to(folder.resolve()) for folder in closed)
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, links in a circle, no text
        raise outside from error
    if not allowed:
        raise outside
    try:
        real.stat()
    except OSError as error:
        raise BadInput(f"{shown}: {error.strerror}") from error
    return real
