"""What makes two computations the same: a hash of canonical JSON, with files by content or by where they lie."""

import hashlib
import json
from pathlib import Path
from typing import Any

from magellon.errors import BadInput
from magellon.platform.store.roots import Roots

CONTENT_LIMIT = 64 << 20
"""Bytes below which a gain, a defect list or a model goes by its content."""


def write_canonical(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, shortest numbers, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def hash_canonical(value: Any) -> str:
    return hashlib.sha256(write_canonical(value)).hexdigest()


def locate_file(path: Path, roots: Roots) -> str:
    """Identity of a raw movie: root name, relative path, size and time of modification.

    Raises:
        BadInput: it is not there.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    return describe_location(roots.express(path), status.st_size, status.st_mtime_ns)


def describe_location(rooted: str, size: int, mtime: int) -> str:
    """The same of a file that was looked at before; `mtime` in nanoseconds."""
    return f"{rooted}?size={size}&mtime={mtime}"


def identify_file(path: Path, roots: Roots) -> str:
    """Identity of any other file: its name and content, or as a raw movie if it is large.

    Raises:
        BadInput: it is not there, or no file.
    """
    try:
        if path.stat().st_size >= CONTENT_LIMIT:
            return locate_file(path, roots)
        return f"sha256={hashlib.sha256(path.read_bytes()).hexdigest()}/{path.name}"
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
