"""Opening files for reading and putting complete files in place, with failures that have a kind.

Loads no numpy.
"""

import bz2
import errno
import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from magellon.errors import BadInput, Transient

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WRONG_PATH = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn what goes wrong while reading `path` into a failure that names the file.

    Raises:
        BadInput: the file is missing, not readable, or its compressed data are damaged.
        Transient: the filesystem failed.
    """
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: damaged or truncated compressed data ({error})") from error
    except OSError as error:
        if error.errno is None:  # bz2 reports damaged data as a bare OSError
            raise BadInput(f"{path}: damaged or truncated compressed data ({error})") from error
        if error.errno in _WRONG_PATH:
            raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
        raise Transient(f"{path}: reading failed: {error.strerror}") from error


def open_binary(path: Path | str) -> BinaryIO:
    """Open a file for reading bytes; `.gz` and `.bz2` are unpacked on the way. Wrap in `reading`."""
    suffix = Path(path).suffix.lower()
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if suffix == ".bz2":
        return cast(BinaryIO, bz2.open(path, "rb"))
    return open(path, "rb")


def is_compressed(path: Path | str) -> bool:
    """Whether `open_binary` unpacks this file, so that its size on disk says nothing."""
    return os.path.splitext(path)[1].lower() in {".gz", ".bz2"}


def is_text(path: str | Path) -> bool:
    """Whether a path can be written as UTF-8, as ledger, messages and STAR files need it; on Linux a name may be any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def find_suffix(path: Path | str) -> str:
    """The lower-case suffix that tells the format, without `.gz` and `.bz2`."""
    stem, suffix = os.path.splitext(path)  # not Path: this is asked for each of 50,000 files
    return (os.path.splitext(stem)[1] if is_compressed(path) else suffix).lower()


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none yet.

    Raises:
        BadInput: a file has its name or that of a folder above it, or nobody may make one there.
        Transient: the disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise BadInput(f"{path}: is a file, where a folder is wanted") from error
    except OSError as error:
        if error.errno in _FULL:
            raise Transient(f"{path}: no space left to make the folder ({error.strerror})") from error
        raise BadInput(f"{path}: no folder can be made here: {error.strerror or error}") from error


def require_writable(path: Path) -> None:
    """Try whether a file can be written, and make its folder: before much is computed that would be lost.

    Raises:
        BadInput: it is a folder, or nobody may write there.
        Transient: the disk is full.
    """
    if path.is_dir():
        raise BadInput(f"{path}: is a folder, where a file is wanted")
    make_folder(path.absolute().parent)
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        if error.errno in _FULL:
            raise Transient(f"{path}: no space left to write it ({error.strerror})") from error
        raise BadInput(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give a temporary name beside `path`; what was written there becomes `path` at the end, or vanishes on an error.

    A reader of `path` sees the old file or the whole new one, never a half.

    Raises:
        Transient: the disk is full, or writing failed otherwise.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in _FULL:
            raise Transient(f"{path}: no space left to write it ({error.strerror})") from error
        raise Transient(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
