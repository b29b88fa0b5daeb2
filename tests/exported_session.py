"""A small finished session in a home, made in a moment: three micrographs, two optics groups, links as in a real one."""

import json
import os
from pathlib import Path

import numpy as np

from magellon.io.mrc import MrcStackWriter, write_mrc
from magellon.io.star import StarTable, write_star

NAMES = ("m_1", "m_2", "m_3")
PARTICLES = {"m_1": 3, "m_2": 2, "m_3": 4}
HELD = "m_3"
RESOLUTIONS = {"m_1": 4.0, "m_2": 8.0, "m_3": 12.0}
GROUPS = {"m_1": 1, "m_2": 2, "m_3": 1}
BOX, HEIGHT, WIDTH, PIXEL = 16, 48, 64, 1.5
FOLDERS = ("motion_correction", "ctf_estimation", "particle_picking", "particle_extraction")


def make_home(home: Path, name: str = "grid7", *, held: bool = False, classes: bool = False) -> Path:
    """A home with one session; gives the session's folder. The data lie beside the home."""
    session = home / "sessions" / name
    data = home.parent / f"{home.name}_data"
    for folder in (session, data):
        folder.mkdir(parents=True)
    for number, micrograph in enumerate(NAMES):
        _make_micrograph(home, session, data, micrograph, number)
    (data / "gain.mrc").write_bytes(b"gain")
    _link(data / "gain.mrc", session / "movies" / "gain.mrc", home)
    gathered = home / "results" / "ga" / "gathered"
    gathered.mkdir(parents=True)
    _write_tables(gathered, classes=classes)
    reasons = {HELD: ["resolution 12.0 Å is worse than 10 Å"]} if held else {}
    (gathered / "summary.json").write_text(json.dumps({"format": "magellon-summary", "version": 1, "held": reasons}))
    for file in gathered.iterdir():
        _link(file, session / file.name, home)
    return session


def _make_micrograph(home: Path, session: Path, data: Path, name: str, number: int) -> None:
    rng = np.random.default_rng(number)
    results = home / "results" / f"{number:02x}" / name
    results.mkdir(parents=True)
    movie = data / f"{name}_frames.tiff"
    movie.write_bytes(b"movie")
    _link(movie, session / "movies" / f"{name}.tiff", home)
    for suffix in (".mrc", "_noDW.mrc"):
        write_mrc(results / f"{name}{suffix}", rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32), PIXEL)
    general = {
        "rlnImageSizeX": [WIDTH], "rlnImageSizeY": [HEIGHT], "rlnImageSizeZ": [20],
        "rlnMicrographMovieName": [f"movies/{name}.tiff"], "rlnMicrographGainName": ["movies/gain.mrc"],
        "rlnMicrographOriginalPixelSize": [PIXEL / 2], "rlnMicrographDoseRate": [2.5], "rlnMicrographPreExposure": [1.0],
        "rlnVoltage": [300.0], "rlnMicrographStartFrame": [1], "rlnMotionModelVersion": [0],
    }  # fmt: skip
    shifts = {"rlnMicrographFrameNumber": [1, 2], "rlnMicrographShiftX": [0.0, 0.0], "rlnMicrographShiftY": [0.0, 0.5]}
    write_star(results / f"{name}.star", {"general": StarTable(general, loop=False), "global_shift": StarTable(shifts)})
    write_mrc(results / f"{name}_ctf.mrc", np.zeros((8, 8), dtype=np.float32), PIXEL)
    picks = {"rlnCoordinateX": [10.0] * PARTICLES[name], "rlnCoordinateY": [12.0] * PARTICLES[name]}
    write_star(results / f"{name}_autopick.star", {"": StarTable(picks)})
    with MrcStackWriter(results / f"{name}.mrcs", BOX, PIXEL) as stack:
        for _ in range(PARTICLES[name]):
            stack.append(rng.normal(size=(BOX, BOX)).astype(np.float32))
    places = {".mrc": 0, "_noDW.mrc": 0, ".star": 0, "_ctf.mrc": 1, "_autopick.star": 2, ".mrcs": 3}
    for suffix, place in places.items():
        _link(results / f"{name}{suffix}", session / FOLDERS[place] / f"{name}{suffix}", home)


def _link(target: Path, link: Path, home: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    inside = target.is_relative_to(home)
    link.symlink_to(os.path.relpath(target, link.parent) if inside else target)


def _optics(particles: bool = False) -> StarTable:
    columns: dict[str, list[object]] = {
        "rlnOpticsGroupName": ["hole_1", "hole_2"],
        "rlnOpticsGroup": [1, 2],
        "rlnMicrographOriginalPixelSize": [PIXEL / 2] * 2,
        "rlnVoltage": [300.0] * 2,
        "rlnSphericalAberration": [2.7] * 2,
        "rlnAmplitudeContrast": [0.1] * 2,
        "rlnMicrographPixelSize": [PIXEL] * 2,
    }
    if particles:
        columns |= {"rlnImagePixelSize": [PIXEL] * 2, "rlnImageSize": [BOX] * 2, "rlnImageDimensionality": [2] * 2}
    return StarTable(columns)


def _write_tables(folder: Path, *, classes: bool) -> None:
    names = {
        "rlnMicrographName": [f"motion_correction/{name}.mrc" for name in NAMES],
        "rlnMicrographMetadata": [f"motion_correction/{name}.star" for name in NAMES],
        "rlnMicrographNameNoDW": [f"motion_correction/{name}_noDW.mrc" for name in NAMES],
        "rlnOpticsGroup": [GROUPS[name] for name in NAMES],
    }
    motion = {"rlnAccumMotionTotal": [10.0, 20.0, 30.0], "rlnAccumMotionEarly": [8.0] * 3, "rlnAccumMotionLate": [2.0] * 3}
    fits = {
        "rlnCtfImage": [f"ctf_estimation/{name}_ctf.mrc:mrc" for name in NAMES],
        "rlnDefocusU": [10000.0, 15000.0, 20000.0],
        "rlnDefocusV": [9800.0, 14000.0, 19900.0],
        "rlnDefocusAngle": [30.0] * 3,
        "rlnPhaseShift": [0.0] * 3,
        "rlnCtfFigureOfMerit": [0.9, 0.5, 0.1],
        "rlnCtfMaxResolution": [RESOLUTIONS[name] for name in NAMES],
    }
    write_star(folder / "corrected_micrographs.star", {"optics": _optics(), "micrographs": StarTable(names | motion)})
    write_star(folder / "micrographs_ctf.star", {"optics": _optics(), "micrographs": StarTable(names | fits)})
    coordinates = [f"particle_picking/{name}_autopick.star" for name in NAMES]
    picks = StarTable({"rlnMicrographName": names["rlnMicrographName"], "rlnMicrographCoordinates": coordinates})
    write_star(folder / "autopick.star", {"coordinate_files": picks})
    write_star(folder / "particles.star", {"optics": _optics(particles=True), "particles": _tabulate_particles(classes)})


def classify(session: Path, kept: int = 5) -> None:
    """Add the files of a 2D classification: class numbers go round, and the first so many particles are kept."""
    home = session.parent.parent
    folder = home / "results" / "cl" / "classified"
    folder.mkdir(parents=True)
    table = _tabulate_particles(classes=True)
    optics = _optics(particles=True)
    write_star(folder / "all_particles.star", {"optics": optics, "particles": table})
    first = StarTable({label: values[:kept] for label, values in table.items()})
    write_star(folder / "particles.star", {"optics": optics, "particles": first})
    for file in folder.iterdir():
        _link(file, session / "two_d_classification" / file.name, home)


def _tabulate_particles(classes: bool) -> StarTable:
    rows = [(name, number) for name in NAMES for number in range(1, PARTICLES[name] + 1)]
    columns: dict[str, list[object]] = {
        "rlnCoordinateX": [10.0 + number for _, number in rows],
        "rlnCoordinateY": [20.0 + number for _, number in rows],
        "rlnOriginXAngst": [0.3] * len(rows),
        "rlnOriginYAngst": [-0.6] * len(rows),
        "rlnAutopickFigureOfMerit": [number / 10 for _, number in rows],
        "rlnImageName": [f"{number:06d}@particle_extraction/{name}.mrcs" for name, number in rows],
        "rlnMicrographName": [f"motion_correction/{name}.mrc" for name, _ in rows],
        "rlnOpticsGroup": [GROUPS[name] for name, _ in rows],
        "rlnDefocusU": [10000.0] * len(rows),
        "rlnDefocusV": [9800.0] * len(rows),
        "rlnDefocusAngle": [30.0] * len(rows),
        "rlnPhaseShift": [0.0] * len(rows),
        "rlnCtfBfactor": [0.0] * len(rows),
        "rlnCtfScalefactor": [1.0] * len(rows),
        "rlnRandomSubset": [number % 2 + 1 for _, number in rows],
    }
    if classes:
        columns |= {"rlnClassNumber": [number for _, number in rows], "rlnAnglePsi": [15.0 * number for _, number in rows]}
    return StarTable(columns)
