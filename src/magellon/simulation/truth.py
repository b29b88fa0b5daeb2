"""What is true of a simulated session: every value that made it, read from and written to truth/truth.json."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.simulation.motion_model import Motion
from magellon.units import Angstrom, Degree

Array = NDArray[np.float64]
Kind = Literal["good", "broken", "denatured", "foreign"]


@dataclass(frozen=True)
class CtfTruth:
    """Defocus U >= V in Å, the angle of U, the phase shift in degrees."""

    defocus_u: Angstrom
    defocus_v: Angstrom
    defocus_angle: Degree
    phase_shift: Degree

    @property
    def mean_defocus(self) -> Angstrom:
        return (self.defocus_u + self.defocus_v) / 2

    @property
    def astigmatism_vector(self) -> Array:
        """(U - V) (cos 2 angle, sin 2 angle), Å."""
        angle = math.radians(2 * self.defocus_angle)
        return (self.defocus_u - self.defocus_v) * np.array([math.cos(angle), math.sin(angle)])


@dataclass(frozen=True)
class OpticsTruth:
    """The microscope of one movie, in the specimen's true lengths."""

    voltage: float
    spherical_aberration: float
    amplitude_contrast: float
    ctf: CtfTruth
    envelope_b: float
    beam_tilt: tuple[float, float]
    """(x, y), mrad."""
    magnification: tuple[tuple[float, float], tuple[float, float]]
    """From the specimen's (x, y) to the image's, as lengths of `pixel_size` per pixel; the unit matrix: none."""
    pixel_size: float
    """True, Å/px."""
    nominal_pixel_size: float
    """What the session states."""


@dataclass(frozen=True)
class ParticleTruth:
    """The particles of one movie; every array has one entry for each particle."""

    x_px: Array
    """Centre in the first frame, 0-based, unbinned pixels. Some lie outside the field and only reach into it."""
    y_px: Array
    rot: Array
    tilt: Array
    psi: Array
    """Degrees, RELION's convention."""
    height: Array
    """Å; the particle's defocus is larger by it."""
    model: NDArray[np.int64]
    """Index of the phantom."""
    kind: NDArray[np.str_]
    cut: Array
    """(n, 4): for broken ones the normal and distance (Å) of the plane beyond which atoms are lost, otherwise zeros."""

    def __len__(self) -> int:
        return len(self.x_px)

    @property
    def points_px(self) -> Array:
        """(n, 2) as (x, y)."""
        return np.stack([self.x_px, self.y_px], axis=1)

    def chosen(self, mask: NDArray[np.bool_]) -> "ParticleTruth":
        return ParticleTruth(**{item.name: getattr(self, item.name)[mask] for item in fields(self)})

    def inside(self, shape: tuple[int, int], margin_px: float = 0.0) -> NDArray[np.bool_]:
        """Whose centre lies in the field, `margin_px` from its edges."""
        height, width = shape
        in_x = (self.x_px >= margin_px) & (self.x_px <= width - 1 - margin_px)
        return in_x & (self.y_px >= margin_px) & (self.y_px <= height - 1 - margin_px)


@dataclass(frozen=True)
class Blob:
    """A piece of contamination."""

    x_px: float
    y_px: float
    radius_px: float
    thickness: float
    """Å of ice it is worth in its middle."""


@dataclass(frozen=True)
class SurroundingsTruth:
    """Ice and whatever else is in the field."""

    ice_thickness: float
    ice_roughness: float
    ice_gradient: tuple[float, float]
    """Relative change of the thickness over the field in x and y."""
    carbon: tuple[float, float, float] | None
    """Hole the field lies in: centre x, y and radius in pixels; carbon beyond."""
    carbon_thickness: float
    contamination: tuple[Blob, ...]
    beam: tuple[float, float, float] | None
    """Beam's centre x, y and radius in pixels; dark beyond."""

    def obscured(self, points_px: Array) -> NDArray[np.bool_]:
        """Which points (n, 2) lie on carbon, under contamination or outside the beam."""
        hidden = np.zeros(len(points_px), dtype=bool)
        for circle in (self.carbon, self.beam):
            if circle is not None:
                hidden |= np.hypot(points_px[:, 0] - circle[0], points_px[:, 1] - circle[1]) > circle[2]
        for blob in self.contamination:
            hidden |= np.hypot(points_px[:, 0] - blob.x_px, points_px[:, 1] - blob.y_px) < blob.radius_px
        return hidden


@dataclass(frozen=True)
class MovieTruth:
    """Everything true of one movie."""

    name: str
    file: str
    """Relative to the session's folder."""
    index: int
    shape: tuple[int, int]
    """(height, width)."""
    exposure_per_frame: float
    """e/Å² for each frame of the motion."""
    stored_per_frame: int
    """Frames in the file for each of those: more than one only in EER movies."""
    pre_exposure: float
    resolution: float
    """Finest detail that was rendered, Å."""
    optics: OpticsTruth
    surroundings: SurroundingsTruth
    motion: Motion
    particles: ParticleTruth

    @property
    def frames(self) -> int:
        return self.motion.frames

    @property
    def pixel_size(self) -> float:
        return self.optics.pixel_size

    @property
    def global_shifts(self) -> Array:
        """(frames, 2): mean displacement of the content relative to the first frame, (x, y) in Å."""
        return self.motion.global_shifts

    @property
    def ctf(self) -> CtfTruth:
        return self.optics.ctf

    def displacement(self, points_px: Array, frame: int) -> Array:
        """Displacement of the content (n, 2) in Å at points (n, 2) in pixels, in a frame counted from 0."""
        return self.motion.displacement(points_px, frame)

    def apparent_ctf(self) -> CtfTruth:
        """What a perfect fit finds that trusts the nominal pixel size and knows nothing of anisotropic magnification."""
        optics, ctf = self.optics, self.optics.ctf
        angle = math.radians(ctf.defocus_angle)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        matrix = np.array(optics.magnification)
        defocus = matrix @ turn @ np.diag([ctf.defocus_u, ctf.defocus_v]) @ turn.T @ matrix.T
        values, vectors = np.linalg.eigh(defocus * (optics.nominal_pixel_size / optics.pixel_size) ** 2)
        direction = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1])) % 180
        return CtfTruth(float(values[1]), float(values[0]), direction, ctf.phase_shift)


@dataclass(frozen=True)
class SessionTruth:
    """Everything true of a session."""

    name: str
    spec: Mapping[str, Any]
    """The values asked for."""
    models: tuple[Mapping[str, Any], ...]
    """Name, symmetry, diameter (Å), atoms and map file of each phantom, in the order of `ParticleTruth.model`."""
    camera: Mapping[str, Any]
    movies: tuple[MovieTruth, ...]

    def movie(self, name: str) -> MovieTruth:
        """By its name.

        Raises:
            KeyError: no such movie.
        """
        for movie in self.movies:
            if movie.name == name:
                return movie
        raise KeyError(name)

    @property
    def diameter(self) -> float:
        """Of the (first) phantom, Å."""
        return float(self.models[0]["diameter"])


def read_truth(path: Path | str) -> SessionTruth:
    """Read truth.json, given itself, its folder or the session's folder.

    Raises:
        BadInput: absent or not the truth of a simulated session.
    """
    path = Path(path)
    for place in (path / "truth" / "truth.json", path / "truth.json"):
        if place.exists():
            path = place
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        movies = tuple(parse_movie(movie) for movie in document["movies"])
        return SessionTruth(document["name"], document["spec"], tuple(document["models"]), document["camera"], movies)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: not the truth of a simulated session: {error!r}") from error


def write_truth(path: Path, truth: SessionTruth) -> None:
    """Write truth.json: numbers with every digit, keys in a fixed order."""
    document = {
        "format": "magellon-truth",
        "version": 1,
        "name": truth.name,
        "spec": dict(truth.spec),
        "models": [dict(model) for model in truth.models],
        "camera": dict(truth.camera),
        "movies": [format_movie(movie) for movie in truth.movies],
    }
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def format_movie(movie: MovieTruth) -> dict[str, Any]:
    """A movie's truth as plain JSON values."""
    return cast(dict[str, Any], plain_values(asdict(movie)))


def parse_movie(document: Mapping[str, Any]) -> MovieTruth:
    """The inverse of `format_movie`."""
    motion, particles = document["motion"], document["particles"]
    optics, around = dict(document["optics"]), dict(document["surroundings"])
    optics["ctf"] = CtfTruth(**optics["ctf"])
    optics["beam_tilt"] = tuple(optics["beam_tilt"])
    optics["magnification"] = tuple(tuple(row) for row in optics["magnification"])
    around["contamination"] = tuple(Blob(**blob) for blob in around["contamination"])
    for key in ("ice_gradient", "carbon", "beam"):
        around[key] = None if around[key] is None else tuple(around[key])
    lengths = ("x_px", "y_px", "rot", "tilt", "psi", "height")
    columns = {key: np.asarray(particles[key], dtype=np.float64) for key in lengths}
    plain = ("name", "file", "index", "exposure_per_frame", "stored_per_frame", "pre_exposure", "resolution")
    return MovieTruth(
        **{key: document[key] for key in plain},
        shape=tuple(document["shape"]),
        optics=OpticsTruth(**optics),
        surroundings=SurroundingsTruth(**around),
        motion=Motion(
            shape=tuple(motion["shape"]),
            global_shifts=np.asarray(motion["global_shifts"], dtype=np.float64),
            blur=np.asarray(motion["blur"], dtype=np.float64),
            temporal=np.asarray(motion["temporal"], dtype=np.float64),
            coefficients=np.asarray(motion["coefficients"], dtype=np.float64),
            bell=tuple(motion["bell"]),
        ),
        particles=ParticleTruth(
            **columns,
            model=np.asarray(particles["model"], dtype=np.int64),
            kind=np.asarray(particles["kind"], dtype=np.str_),
            cut=np.asarray(particles["cut"], dtype=np.float64).reshape(-1, 4),
        ),
    )


def plain_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value
