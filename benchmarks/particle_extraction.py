"""Particle extraction: our boxes and RELION's from the same micrographs and coordinates, side by side."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost import measure_call, measure_command
from benchmarks.table import Row
from magellon.backends.session_star.backend import RelionSession, RelionSessionParams
from magellon.backends.stack_maker.backend import StackMaker
from magellon.backends.stack_maker.params import StackMakerParams
from magellon.contracts import Context, ExtractionInput, ExtractionOutput, Micrograph, Picks, SessionItem, SessionStarInput
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import read_star, write_star

PIXEL, SIZE, BOX, SCALED = 1.2, 2048, 192, 96
RADIUS = round(0.375 * SCALED)
PARTICLES = 120


@dataclass(frozen=True)
class Extracted:
    """What one micrograph gave."""

    name: str
    output: ExtractionOutput


def run(work: Path, quick: bool) -> list[Row]:
    """Extract from micrographs of noise with blobs: the content does not matter to either program."""
    work = work.resolve()
    count = 3 if quick else 20
    data = f"{count} micrographs {SIZE}x{SIZE}, {PARTICLES} particles each, {BOX} > {SCALED} px, seed 5"
    inputs = [_make_input(work, index) for index in range(count)]
    _extract_all(work / "warm", inputs[:1])  # The first call pays for loading libraries, as a worker does once.
    extracted, ours = measure_call(lambda: _extract_all(work / "ours", inputs))
    accuracy, rows = {}, []
    if shutil.which("relion_preprocess"):
        _write_coordinates(work, extracted)
        theirs = measure_command(_relion_command(), work, work / "relion.log")
        accuracy = {"largest difference from RELION (σ of the background)": _find_difference(work, extracted)}
        rows.append(
            Row(
                "particle_extraction",
                "RELION",
                data,
                count,
                theirs.seconds / count,
                theirs.cpu_seconds / count,
                theirs.peak_megabytes,
            )
        )
    row = Row(
        "particle_extraction", "magellon stack-maker", data, count, ours.seconds / count, ours.cpu_seconds / count,
        ours.peak_megabytes, accuracy, note="with STAR file and gallery; libraries loaded before (about 1 s once per worker)",
    )  # fmt: skip
    return [row, *rows, _gather(work, extracted, 20 if quick else 1000)]


def _gather(work: Path, extracted: list[Extracted], count: int) -> Row:
    """Session files of as many micrographs as a session has: the first one's particles under many names."""
    first = extracted[0].output.particles
    micrograph = Micrograph(name="m", path=work / "mic/m000.mrc", pixel_size=PIXEL, shape=(SIZE, SIZE))
    items = tuple(
        SessionItem(name=f"m{index:06d}", micrograph=micrograph, particle_extraction=extracted[0].output)
        for index in range(count)
    )
    folder = work / "session"
    folder.mkdir(exist_ok=True)
    _, cost = measure_call(
        lambda: RelionSession().run(SessionStarInput(items=items), RelionSessionParams(), Context(workdir=folder))
    )
    return Row(
        "session_star", "magellon relion", f"{count} micrographs, {count * first.count} particles", 1, cost.seconds,
        cost.cpu_seconds, cost.peak_megabytes, note="memory is that of the whole benchmark process so far",
    )  # fmt: skip


def _make_input(work: Path, index: int) -> ExtractionInput:
    folder = work / "mic"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([5, index])
    path, picks = folder / f"m{index:03d}.mrc", work / f"m{index:03d}_picks.star"
    write_mrc(path, rng.normal(20, 3, (SIZE, SIZE)).astype(np.float32), PIXEL)
    places: NDArray[np.float64] = rng.uniform(60, SIZE - 60, (PARTICLES, 2))
    columns = {
        "rlnCoordinateX": places[:, 0],
        "rlnCoordinateY": places[:, 1],
        "rlnAutopickFigureOfMerit": rng.random(PARTICLES),
    }
    write_star(picks, {"": {label: values.tolist() for label, values in columns.items()}})
    return ExtractionInput(
        micrograph=Micrograph(name=path.stem, path=path, pixel_size=PIXEL, shape=(SIZE, SIZE)),
        picks=Picks(path=picks, count=PARTICLES, diameter=150.0),
    )


def _extract_all(folder: Path, inputs: list[ExtractionInput]) -> list[Extracted]:
    folder.mkdir(parents=True, exist_ok=True)
    params = StackMakerParams(box_size=BOX, rescaled_size=SCALED, minimum_distance=0)
    return [Extracted(item.micrograph.name, StackMaker().run(item, params, Context(workdir=folder))) for item in inputs]


def _write_coordinates(work: Path, extracted: list[Extracted]) -> None:
    """What RELION needs: a list of micrographs, and our whole coordinates beside them."""
    for item in extracted:
        particles = read_star(item.output.particles.star)["particles"]
        columns = {label: particles[label] for label in ("rlnCoordinateX", "rlnCoordinateY")}
        write_star(work / f"mic/{item.name}_ours.star", {"": columns})
    optics: dict[str, list[Any]] = {
        "rlnOpticsGroupName": ["opticsGroup1"], "rlnOpticsGroup": [1], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1], "rlnMicrographPixelSize": [PIXEL], "rlnMicrographOriginalPixelSize": [PIXEL],
    }  # fmt: skip
    names = [f"mic/{item.name}.mrc" for item in extracted]
    write_star(
        work / "mics.star", {"optics": optics, "micrographs": {"rlnMicrographName": names, "rlnOpticsGroup": [1] * len(names)}}
    )


def _relion_command() -> list[str]:
    return [
        "relion_preprocess", "--i", "mics.star", "--coord_suffix", "_ours.star", "--coord_dir", "./", "--part_dir", "relion/",
        "--part_star", "relion.star", "--extract", "--extract_size", str(BOX), "--scale", str(SCALED), "--norm",
        "--bg_radius", str(RADIUS), "--invert_contrast",
    ]  # fmt: skip


def _find_difference(work: Path, extracted: list[Extracted]) -> float:
    differences = []
    for item in extracted:
        assert item.output.particles.stack is not None
        theirs = read_mrc(work / f"relion/mic/{item.name}.mrcs")
        differences.append(float(np.abs(read_mrc(item.output.particles.stack) - theirs).max()))
    return max(differences)
