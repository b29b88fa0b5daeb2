"""The true particles as a RELION 3.1 STAR file."""

from pathlib import Path
from typing import Any

from magellon.io.star import StarTable, write_star
from magellon.simulation.truth import SessionTruth


def write_particles(path: Path, truth: SessionTruth) -> None:
    """Wanted, whole particles in the field, with their poses and CTFs, at their place in the first frame.

    `rlnMicrographName` is `truth/NAME_exposure.mrc`, the noise-free image a session may hold. Coordinates keep their fraction;
    RELION truncates them on extraction. CTFs are those a program sees that trusts the nominal pixel size.
    """
    rows: dict[str, list[Any]] = {label: [] for label in _LABELS}
    optics = truth.movies[0].optics
    for movie in truth.movies:
        particles = movie.particles.chosen((movie.particles.kind == "good") & movie.particles.inside(movie.shape))
        ctf = movie.apparent_ctf()
        scale = (optics.nominal_pixel_size / optics.pixel_size) ** 2
        count = len(particles)
        columns = (
            [f"truth/{movie.name}_exposure.mrc"] * count,
            [f"movies/{Path(movie.file).name}"] * count,
            particles.x_px.tolist(),
            particles.y_px.tolist(),
            [0.0] * count,
            [0.0] * count,
            particles.rot.tolist(),
            particles.tilt.tolist(),
            particles.psi.tolist(),
            (ctf.defocus_u + scale * particles.height).tolist(),
            (ctf.defocus_v + scale * particles.height).tolist(),
            [ctf.defocus_angle] * count,
            [ctf.phase_shift] * count,
            (particles.model + 1).tolist(),
            [1] * count,
        )
        for label, values in zip(_LABELS, columns, strict=True):
            rows[label].extend(values)
    table: dict[str, list[Any]] = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnMicrographOriginalPixelSize": [optics.nominal_pixel_size],
        "rlnMicrographPixelSize": [optics.nominal_pixel_size],
        "rlnVoltage": [optics.voltage],
        "rlnSphericalAberration": [optics.spherical_aberration],
        "rlnAmplitudeContrast": [optics.amplitude_contrast],
        "rlnBeamTiltX": [optics.beam_tilt[0]],
        "rlnBeamTiltY": [optics.beam_tilt[1]],
    }
    write_star(path, {"optics": StarTable(table), "particles": StarTable(rows)})


_LABELS = (
    "rlnMicrographName",
    "rlnMicrographMovieName",
    "rlnCoordinateX",
    "rlnCoordinateY",
    "rlnOriginXAngst",
    "rlnOriginYAngst",
    "rlnAngleRot",
    "rlnAngleTilt",
    "rlnAnglePsi",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnPhaseShift",
    "rlnClassNumber",
    "rlnOpticsGroup",
)
