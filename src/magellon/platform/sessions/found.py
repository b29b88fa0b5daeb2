"""What an importer finds: movies and how each was taken, places, gain, and what could not be read."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path

from magellon.contracts import Movie
from magellon.platform.sessions.definition import SessionFile, Source
from magellon.platform.sessions.grid_images import FoundImage
from magellon.platform.sessions.places import Place, Shot


@dataclass(frozen=True)
class Described:
    """One movie as metadata describe it, whatever program wrote them."""

    shot: Shot
    place: Place
    """The exposure, without `shot` and with a name that the movie's will replace."""
    voltage: float | None = None
    spherical_aberration: float | None = None
    image_shape: tuple[int, int] | None = None
    """(height, width) of an image with `shot.pixel_size`; a movie of the same field may have more pixels."""
    binning: float | None = None
    """Of that image, in the detector's physical pixels."""
    shift: tuple[float, float] | None = None
    """µm on the specimen, as good as can be: for finding clusters."""
    pattern: str | None = None
    """Hole and position of a pattern."""
    part: Hashable = None
    """Grid, where a session has several."""
    gain: str | None = None
    defects: str | None = None
    """File names."""


@dataclass(frozen=True)
class Metadata:
    """What one importer read."""

    name: str
    movies: dict[Path, Described | None]
    """Every movie; None where nothing describes it."""
    places: tuple[Place, ...] = ()
    """Without the exposures that have a movie."""
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """What is described and not in the folder, in one line; more problems."""
    needs_gain: bool = False
    """Whether the metadata say that movies are stored without the gain applied."""


@dataclass(frozen=True)
class FoundMovie:
    """A movie of a session, with absolute paths, and what is wrong with it."""

    movie: Movie
    problem: str | None = None
    shot: Shot | None = None
    described: bool = False
    """Whether its metadata are there: acquisition programs write them when the movie is complete."""
    frames: int | None = None
    """As its header says."""

    @property
    def exposure(self) -> float | None:
        """e/Å² of the whole movie: what metadata say, or that of a frame times the frames; None when neither is known."""
        if self.shot is not None and self.shot.exposure is not None:
            return self.shot.exposure
        per_frame = self.movie.exposure_per_frame
        return per_frame * self.frames if per_frame is not None and self.frames else None


def has_unsaid_gain(found: "FoundSession") -> bool:
    """Whether a gain reference is used of which nobody said how it lies.

    In a folder that is empty as yet: whether one is named, or what writes there is a program that leaves one.
    """
    session = found.session
    if session.gain_rotation is not None or session.gain_flip is not None:
        return False
    if not found.movies:
        return session.gain is not None or found.source not in ("plain", "session.json")
    return any(movie.movie.gain is not None for movie in found.movies)


@dataclass(frozen=True)
class FoundSession:
    """A session's folder, read and checked; made without the ledger, as it takes time."""

    folder: Path
    session: SessionFile
    movies: list[FoundMovie]
    source: Source = "plain"
    reason: str = ""
    """Why it is taken for one of that source."""
    places: list[Place] = field(default_factory=list)
    """Those above come first."""
    images: list[FoundImage] = field(default_factory=list)
    """Pictures of the grid."""
    problems: list[str] = field(default_factory=list)
    """What could not be read or does not fit, each in one line; everything else is imported."""
