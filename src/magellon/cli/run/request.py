"""What a person asked `magellon run` to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magellon.cli.acquisition import MovieOptions, OpticsOptions


@dataclass(frozen=True)
class Beside:
    """Results of earlier steps, given beside the micrographs."""

    ctf: Path | None = None
    """A `micrographs_ctf.star`."""
    picks: str | None = None
    """A folder or pattern of `NAME_autopick.star` files."""
    diameter: float | None = None
    """Of the particle in Å, where the picks do not say."""
    kept: Path | None = None
    """Particles that a classification kept, `particles.star`."""
    start: Path | None = None
    """The folder of an earlier classification, with whose classes the next begins."""


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
    ignores: tuple[str, ...] = ()
    """Fields of its input the backend does not look at."""
    optics: OpticsOptions = field(default_factory=OpticsOptions)
    movie: MovieOptions = field(default_factory=MovieOptions)
    beside: Beside = Beside()
    jobs: int | None = None
    threads: int | None = None
    device: str = "auto"
