"""What a person asked `magellon run` to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


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


@dataclass(frozen=True)
class Beside:
    """Results of earlier steps, given beside the micrographs."""

    ctf: Path | None = None
    """A `micrographs_ctf.star`."""
    picks: str | None = None
    """A folder or pattern of `NAME_autopick.star` files."""
    diameter: float | None = None
    """Of the particle in Å, where the picks do not say."""


@dataclass(frozen=True)
class Request:
    """One call of `magellon run`."""

    category: str
    backend: str
    version: int
    files: tuple[Path, ...]
    out: Path
    params: Mapping[str, Any] = field(default_factory=dict)
    """All of the backend's parameters, files as absolute paths."""
    identity_params: Mapping[str, Any] = field(default_factory=dict)
    """The same with files by content: the seed is made of these, as in the pipeline."""
    optics: OpticsOptions = OpticsOptions()
    movie: MovieOptions = MovieOptions()
    beside: Beside = Beside()
    jobs: int | None = None
    threads: int | None = None
    device: str = "auto"
