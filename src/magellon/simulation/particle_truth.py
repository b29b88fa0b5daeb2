"""What a simulated stack of particles is asked to be, and what each of its images truly shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.io.star import StarTable, read_star, write_star
from magellon.units import Angstrom, AngstromPerPixel, Kilovolt, Millimetre, Pixel

JUNK_KINDS = ("empty", "carbon", "crystal", "aggregate", "off-centre", "broken", "denatured")


@dataclass(frozen=True)
class ParticleSetSpec:
    """A stack as extraction gives it, with everything that makes classification hard."""

    count: int = 3000
    proteins: tuple[str, ...] = ("asymmetric", "barrel", "tetramer")
    """See `find_protein`."""
    abundances: tuple[float, ...] = ()
    """Of the proteins, relative to each other; empty: equal."""
    junk: float = 0.3
    """Fraction of images that show no whole, centred, wanted particle."""
    junk_kinds: Mapping[str, float] = field(
        default_factory=lambda: {
            "empty": 0.35, "carbon": 0.08, "crystal": 0.08, "aggregate": 0.12,
            "off-centre": 0.1, "broken": 0.1, "denatured": 0.17,
        }
    )  # fmt: skip
    """Relative frequencies of the kinds of junk."""
    box: Pixel = 64
    pixel_size: AngstromPerPixel = 4.0
    snr: float = 0.09
    """Variance of the noise-free image (with its CTF) inside a circle of the protein's diameter, mean over the proteins, over
    the variance of the noise in a pixel. White noise makes it grow with the pixel's area: 0.09 at 4 Å/px is 0.05 at 3 Å/px."""
    view_imbalance: float = 1.0
    """How many times as many views there are per solid angle in a cone of 40° half angle as outside of it."""
    centring_error: Angstrom = 8.0
    """Standard deviation along each axis of where the picker put the centre."""
    neighbours: float = 0.3
    """Fraction of the images with another particle beside the one in the middle."""
    per_micrograph: int = 100
    optics_groups: int = 2
    """They differ in the strength and colour of their noise."""
    defocus: tuple[float, float] = (8000.0, 25000.0)
    """Å, over the micrographs."""
    astigmatism: tuple[float, float] = (0.0, 600.0)
    voltage: Kilovolt = 300.0
    spherical_aberration: Millimetre = 2.7
    amplitude_contrast: float = 0.1
    envelope_b: float = 80.0
    """Å²; amplitudes fall as exp(-B k² / 4)."""
    randomised_beyond: Angstrom | None = None
    """Replace the phases of the finished images by random ones at resolutions finer than this (Chen et al. 2013)."""
    seed: int = 1


@dataclass(frozen=True)
class ParticleSetTruth:
    """Of each image (n,), in the order of the stack."""

    kind: NDArray[np.str_]
    """`good` or one of JUNK_KINDS."""
    protein: NDArray[np.int64]
    """Index of the protein in the middle, -1 without one. Junk may show one, too."""
    rot: NDArray[np.float64]
    tilt: NDArray[np.float64]
    psi: NDArray[np.float64]
    origin: NDArray[np.float64]
    """(n, 2): `rlnOriginX/YAngst`; the particle lies at the centre minus this."""
    micrograph: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def good(self) -> NDArray[np.bool_]:
        return np.asarray(self.kind == "good")

    def chosen(self, mask: NDArray[Any]) -> "ParticleSetTruth":
        """A part of the images, by mask or index."""
        return ParticleSetTruth(
            self.kind[mask], self.protein[mask], self.rot[mask], self.tilt[mask], self.psi[mask], self.origin[mask],
            self.micrograph[mask],
        )  # fmt: skip


def write_particle_truth(path: Path | str, truth: ParticleSetTruth, optics: StarTable, known: Mapping[str, list[Any]]) -> None:
    """A STAR file with the true poses: `rlnClassNumber` is the protein, counted from 1, and 0 where there is none.

    `magellonTruthKind` says what each image shows. Kept to wanted particles of one protein, it reconstructs that protein.

    Args:
        known: the columns of the file of particles.
    """
    columns = dict(known) | {
        "rlnAngleRot": truth.rot.tolist(),
        "rlnAngleTilt": truth.tilt.tolist(),
        "rlnAnglePsi": truth.psi.tolist(),
        "rlnOriginXAngst": truth.origin[:, 0].tolist(),
        "rlnOriginYAngst": truth.origin[:, 1].tolist(),
        "rlnClassNumber": (truth.protein + 1).tolist(),
        "magellonTruthKind": truth.kind.tolist(),
    }
    write_star(path, {"optics": optics, "particles": columns})


def read_particle_truth(path: Path | str) -> ParticleSetTruth:
    """What `write_particle_truth` wrote."""
    table = read_star(path)["particles"]
    names = table.texts("rlnMicrographName")
    _, micrograph = np.unique(np.array(names), return_inverse=True)
    rot, tilt, psi = (np.array(table.floats(f"rlnAngle{name}")) for name in ("Rot", "Tilt", "Psi"))
    origin = np.array([table.floats("rlnOriginXAngst"), table.floats("rlnOriginYAngst")]).T
    kind, protein = np.array(table.texts("magellonTruthKind")), np.array(table.ints("rlnClassNumber")) - 1
    return ParticleSetTruth(kind, protein, rot, tilt, psi, origin, micrograph)
