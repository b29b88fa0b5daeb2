"""Where the numbers of all particles are kept: in memory when they fit, otherwise in a file mapped into it.

What a process has read or written of a mapped file counts as its own memory until it is let go of, though the system could take
it back at any time: `Store.forget` lets go of it, so that a limit on memory does not end a run over many particles.
"""

import mmap
import os
from pathlib import Path

import torch
from torch import Tensor

from magellon.contracts import Context, Transient

CACHE = "particles.cache"
_IN_MEMORY = 0.25
"""Part of the memory granted that the particles may take; more goes to a file."""


class Store:
    """Arrays with one row for each particle."""

    def __init__(self, count: int, width: int, context: Context) -> None:
        """For `count` particles of `width` numbers each, counted as they lie in memory."""
        self._count = count
        self._in_memory = count * width * 4 <= _IN_MEMORY * context.memory
        self._context = context
        self._maps: list[mmap.mmap] = []
        if not self._in_memory:
            context.log.info("%d particles are kept in files while they are classified", count)

    def allocate(self, *shape: int, half: bool = False) -> Tensor:
        """Zeros (count, *shape), float32; `half`: float16 if in a file.

        Raises:
            Transient: no room for the file.
        """
        if self._in_memory:
            return torch.zeros(self._count, *shape)
        kind = torch.float16 if half else torch.float32
        size = self._count * kind.itemsize
        for side in shape:
            size *= side
        path = Path(self._context.workdir) / CACHE
        try:
            with open(path, "w+b") as file:
                path.unlink()  # the mapping keeps the space until it ends, and nothing is left behind whatever happens
                os.posix_fallocate(file.fileno(), 0, size)  # a disk that is full only later would end the process
                mapped = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise Transient(f"{path}: no file of {size / 1e9:.1f} GB can be made there: {error.strerror}") from error
        self._maps.append(mapped)
        return torch.frombuffer(mapped, dtype=kind).reshape(self._count, *shape)

    def forget(self) -> None:
        """Let go of the pages of files; what was written stays in them."""
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)
