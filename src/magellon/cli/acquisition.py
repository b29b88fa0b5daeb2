"""Flags that say how movies and micrographs were taken, the same in every command, and what is made of them."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from magellon.errors import BadInput
from magellon.platform.sessions.definition import Acquisition

OPTICS, MOVIES = "Optics, where the files do not say", "Movies"


@dataclass(frozen=True)
class OpticsOptions:
    """Where the headers and STAR files do not say. None: not given."""

    pixel_size: float | None = None
    voltage: float | None = None
    spherical_aberration: float | None = None
    amplitude_contrast: float | None = None
    group: str | None = None


@dataclass(frozen=True)
class MovieOptions:
    """What only movies have."""

    exposure_per_frame: float | None = None
    pre_exposure: float | None = None
    gain: Path | None = None
    gain_rotation: Literal[0, 90, 180, 270] | None = None
    gain_flip: Literal["none", "x", "y"] | None = None
    defects: Path | None = None


def make_option(text: str, panel: str, metavar: str | None = None, *flags: str, default: str | bool = False) -> Any:
    """An option that is None unless given; `default` says in words what then happens."""
    return typer.Option(*flags, help=text, rich_help_panel=panel, metavar=metavar, show_default=default)


def optics_flags(
    pixel_size: Annotated[float | None, make_option("Of the image as stored.", OPTICS, "Å/px")] = None,
    voltage: Annotated[float | None, make_option("Of the microscope (300 if nothing says otherwise).", OPTICS, "kV")] = None,
    cs: Annotated[
        float | None,
        make_option("Spherical aberration (2.7 if nothing says otherwise).", OPTICS, "mm", "--cs", "--spherical-aberration"),
    ] = None,
    amplitude_contrast: Annotated[float | None, make_option("0..1 (0.1 if nothing says otherwise).", OPTICS, "X")] = None,
    optics_group: Annotated[str | None, make_option("Name of the optics group.", OPTICS, "TEXT")] = None,
) -> None: ...


def movie_flags(
    exposure: Annotated[
        float | None,
        make_option("Per frame as stored; left out, no dose weighting.", MOVIES, "e/Å²", "--exposure", "--exposure-per-frame"),
    ] = None,
    pre_exposure: Annotated[float | None, make_option("Before the first frame (0 if left out).", MOVIES, "e/Å²")] = None,
    gain: Annotated[Path | None, make_option("Gain reference.", MOVIES, "FILE")] = None,
    gain_rotation: Annotated[
        int | None, make_option("Turn the gain counter-clockwise, before the flip: 0, 90, 180 or 270.", MOVIES, "°")
    ] = None,
    gain_flip: Annotated[
        str | None, make_option("Then mirror it: none, x (left-right) or y (top-bottom).", MOVIES, "AXIS")
    ] = None,
    defects: Annotated[Path | None, make_option("Defect list or map of the detector.", MOVIES, "FILE")] = None,
) -> None: ...


def session_flags(
    metadata: Annotated[
        Path | None, make_option("EPU's, SerialEM's or Leginon's files, where they lie apart.", MOVIES, "DIR")
    ] = None,
) -> None: ...


def collect_flags(*functions: Callable[..., None]) -> list[inspect.Parameter]:
    """The parameters of several functions as the flags of one command."""
    found = [each for function in functions for each in inspect.signature(function).parameters.values()]
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in found]


def read_optics_options(values: Mapping[str, Any]) -> OpticsOptions:
    """What `optics_flags` said.

    Raises:
        BadInput: a pixel size of nothing or less.
    """
    size = values.get("pixel_size")
    if size is not None and not 0 < size < math.inf:
        raise BadInput(f"--pixel-size {size:g} Å/px: must be a number above 0")
    names = ("pixel_size", "voltage", "cs", "amplitude_contrast", "optics_group")
    return OpticsOptions(*(values.get(name) for name in names))


def read_movie_options(values: Mapping[str, Any]) -> MovieOptions:
    """What `movie_flags` said.

    Raises:
        BadInput: a rotation or flip that does not exist.
    """
    rotation, flip = values.get("gain_rotation"), values.get("gain_flip")
    if flip not in (None, "none", "x", "y"):
        raise BadInput(f"--gain-flip is none, x or y, not {flip}")
    if rotation not in (None, 0, 90, 180, 270):
        raise BadInput(f"--gain-rotation is 0, 90, 180 or 270, not {rotation}")
    get = values.get
    return MovieOptions(get("exposure"), get("pre_exposure"), get("gain"), rotation, flip, get("defects"))


def make_acquisition(optics: OpticsOptions, movie: MovieOptions, metadata: Path | None = None) -> Acquisition:
    """The same for the reader of sessions."""
    return Acquisition(
        pixel_size=optics.pixel_size,
        voltage=optics.voltage,
        spherical_aberration=optics.spherical_aberration,
        amplitude_contrast=optics.amplitude_contrast,
        exposure_per_frame=movie.exposure_per_frame,
        pre_exposure=movie.pre_exposure,
        gain=str(movie.gain.expanduser().absolute()) if movie.gain else None,
        gain_rotation=movie.gain_rotation,
        gain_flip=movie.gain_flip,
        defects=str(movie.defects.expanduser().absolute()) if movie.defects else None,
        metadata=str(metadata.expanduser().absolute()) if metadata else None,
    )
