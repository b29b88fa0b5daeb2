"""The kit is tested with backends that break one rule each."""

import itertools
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from magellon.contracts import FFT, PARTICLE_PICKING, Backend, Context, FftInput, FftOutput, Micrograph, Params, PickingInput
from magellon.errors import Cancelled
from magellon.testing import BackendFault, check_backend
from magellon.units import Angstrom


class RingParams(Params):
    width: Angstrom = 3.0
    """Of a ring."""


class Sound(Backend[FftInput, RingParams, FftOutput]):
    """Keeps every rule; the broken ones below override one method."""

    contract, name, Params = FFT, "sound", RingParams

    def run(self, input: FftInput, params: RingParams, context: Context) -> FftOutput:
        context.progress(0.5, "half way")
        return FftOutput(picture=self.write(context.workdir / f"{input.micrograph.name}_fft.png", context))

    def write(self, path: Path, context: Context) -> Path:
        path.write_bytes(b"always the same")
        return path


@pytest.fixture
def example(tmp_path: Path) -> FftInput:
    path = tmp_path / "input" / "first.mrc"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return FftInput(micrograph=Micrograph(name="first", path=path, pixel_size=1.2, shape=(8, 8)))


def test_accepts_a_sound_backend_and_returns_its_output(example: FftInput, tmp_path: Path) -> None:
    output = check_backend(Sound, example, RingParams(width=5), workdir=tmp_path / "kept")
    assert output.picture == tmp_path / "kept" / "first_fft.png"
    assert output.picture.read_bytes() == b"always the same"


class WritesDate(Sound):
    def write(self, path: Path, context: Context) -> Path:
        path.write_text(time.strftime("made on %Y-%m-%d"))
        return path


class WritesClock(Sound):
    def write(self, path: Path, context: Context) -> Path:
        path.write_bytes(b"same")
        path.with_suffix(".star").write_text(time.strftime("# %H:%M:%S"))
        return path


class WritesFolder(Sound):
    def write(self, path: Path, context: Context) -> Path:
        path.write_text(str(context.workdir))
        return path


class WritesCounter(Sound):
    count: ClassVar = itertools.count()

    def write(self, path: Path, context: Context) -> Path:
        path.write_text(str(next(self.count)))
        return path


class NamesCounter(Sound):
    count: ClassVar = itertools.count()

    def write(self, path: Path, context: Context) -> Path:
        path = path.with_name(f"{next(self.count)}.png")
        path.write_bytes(b"same")
        return path


class WritesThreads(Sound):
    def write(self, path: Path, context: Context) -> Path:
        path.write_text(str(torch.get_num_threads()))
        return path


class WritesNothing(Sound):
    def write(self, path: Path, context: Context) -> Path:
        return path


class WritesEmpty(Sound):
    def write(self, path: Path, context: Context) -> Path:
        path.touch()
        return path


class WritesOutside(Sound):
    def write(self, path: Path, context: Context) -> Path:
        outside = context.workdir.parent / "outside.png"
        outside.write_bytes(b"same")
        return outside


class WritesHere(Sound):
    def write(self, path: Path, context: Context) -> Path:
        Path("left.log").write_text("left")
        return super().write(path, context)


class Links(Sound):
    def write(self, path: Path, context: Context) -> Path:
        os.symlink("/dev/null", context.workdir / "link")
        return super().write(path, context)


class Uncancellable(Sound):
    def run(self, input: FftInput, params: RingParams, context: Context) -> FftOutput:
        try:
            return super().run(input, params, context)
        except Cancelled:
            return FftOutput(picture=self.write(context.workdir / "x.png", context))


class ChangesInput(Sound):
    def run(self, input: FftInput, params: RingParams, context: Context) -> FftOutput:
        os.utime(input.micrograph.path, ns=(1, 1))
        return super().run(input, params, context)


class WrongOutput(Sound):
    def run(self, input: FftInput, params: RingParams, context: Context) -> Any:
        return params


class Undescribed(Params):
    width: Angstrom = 3.0


class NoDescription(Sound):
    Params = Undescribed


class Demanding(Params):
    width: Angstrom
    """Of a ring."""


class NoDefault(Sound):
    Params = Demanding


class Shouts(Sound):
    name = "SOUND"


class Unversioned(Sound):
    version = 0


BROKEN = [
    (WritesDate, "holds the date"),
    (WritesClock, "holds a time of day"),
    (WritesFolder, "holds an absolute path"),
    (WritesCounter, "bytes of first_fft.png differ in another folder"),
    (NamesCounter, "output differs in another folder"),
    (WritesThreads, "differ with two threads"),
    (WritesNothing, "was not written"),
    (WritesEmpty, "is empty"),
    (WritesOutside, "does not lie in context.workdir"),
    (WritesHere, "written into the current folder"),
    (Links, "symbolic link"),
    (Uncancellable, "went on after"),
    (ChangesInput, "changed the files of its input"),
    (WrongOutput, "gave RingParams, not FftOutput"),
    (NoDescription, "'width' has no description"),
    (NoDefault, "'width' has no default"),
    (Shouts, "lower case"),
    (Unversioned, "whole number from 1"),
]


@pytest.mark.parametrize(("backend", "reason"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_catches(backend: type[Sound], reason: str, example: FftInput) -> None:
    with pytest.raises(BackendFault, match=reason):
        check_backend(backend, example)


def test_an_example_of_another_category_is_refused(example: FftInput) -> None:
    with pytest.raises(BackendFault, match="takes FftInput"):
        check_backend(Sound, PickingInput(micrograph=example.micrograph))


def test_a_backend_of_no_known_category_is_refused(example: FftInput) -> None:
    class Stray(Sound):
        contract = type(PARTICLE_PICKING)("stray", FftInput, FftOutput)

    with pytest.raises(BackendFault, match=r"none of magellon\.contracts"):
        check_backend(Stray, example)


def test_leaves_torch_and_the_current_folder_as_they_were(example: FftInput) -> None:
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), Path.cwd())
    check_backend(Sound, example)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), Path.cwd()) == before
