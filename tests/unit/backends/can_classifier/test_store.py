"""Particles that do not fit into memory are kept in a file, without counting as memory of the process."""

import errno
import os
from pathlib import Path

import psutil
import pytest
import torch

from magellon.backends.can_classifier.store import Store
from magellon.contracts import Context, Transient

MEGABYTE = 1 << 20


def test_few_particles_are_kept_in_memory(tmp_path: Path) -> None:
    values = Store(10, 6, Context(workdir=tmp_path, memory=4 * 10 * 6 * 4)).allocate(3, 2, half=True)
    assert values.shape == (10, 3, 2)
    assert values.dtype == torch.float32


def test_what_is_forgotten_is_still_there_and_no_memory_of_the_process(tmp_path: Path) -> None:
    count, width = 4096, 4096
    store = Store(count, width, Context(workdir=tmp_path, memory=MEGABYTE))
    values = store.allocate(width)
    assert list(tmp_path.iterdir()) == []
    before = psutil.Process().memory_info().rss
    for row in range(0, count, 256):
        values[row : row + 256] = torch.arange(row, row + 256)[:, None]
        store.forget()
    assert psutil.Process().memory_info().rss - before < 16 * MEGABYTE  # of 64
    assert torch.equal(values[:, -1], torch.arange(count).float())


def test_halves_are_kept_of_what_may_be_rough(tmp_path: Path) -> None:
    store = Store(8, 1 << 20, Context(workdir=tmp_path, memory=MEGABYTE))
    assert store.allocate(2, half=True).dtype == torch.float16
    assert store.allocate(2).dtype == torch.float32


def test_a_disk_without_room_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    store = Store(8, 1 << 20, Context(workdir=tmp_path, memory=MEGABYTE))
    with pytest.raises(Transient, match=r"particles\.cache: no file of .* GB can be made there"):
        store.allocate(1 << 20)
    assert list(tmp_path.iterdir()) == []
