"""Bytes of a file from any place, for several threads at once. Loads no numpy."""

import os
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import BinaryIO, Self

from magellon.io.files import is_compressed, open_binary, reading

_AT_ONCE = 1 << 30


class ByteSource:
    """An open file; `.gz` and `.bz2` are unpacked on the way, where going back costs unpacking from the start.

    A context manager; forgotten, it closes when it is collected.
    """

    def __init__(self, path: Path | str) -> None:
        """
        Raises:
            BadInput: the file is missing or not readable.
        """
        self.path = path
        self._descriptor = -1
        self._unpacked: BinaryIO | None = None
        self._lock = Lock()
        with reading(path):
            if is_compressed(path):
                self._unpacked = open_binary(path)
            else:
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, offset: int, count: int) -> bytes | bytearray:
        """Up to `count` bytes; fewer only at the end of the file.

        Raises:
            BadInput: compressed data are damaged.
            Transient: the filesystem failed.
            ValueError: the source is closed.
        """
        with reading(self.path):
            if self._unpacked is not None:
                with self._lock:
                    self._unpacked.seek(offset)
                    return self._unpacked.read(count)
            if self._descriptor < 0:
                raise ValueError(f"{self.path} is closed")
            data = bytearray(count)
            view, done = memoryview(data), 0
            while done < count:
                part = os.preadv(self._descriptor, [view[done : done + _AT_ONCE]], offset + done)
                if part == 0:
                    return bytes(view[:done])
                done += part
            return data

    def close(self) -> None:
        if self._unpacked is not None:
            self._unpacked.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
