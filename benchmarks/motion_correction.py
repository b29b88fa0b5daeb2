"""Motion correction: the error of the motion found, and what a movie costs, RELION's own implementation beside ours."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.cost import Cost, measure_call, measure_command
from benchmarks.table import Row
from magellon.backends.motioncor.backend import MotionCor, MotionCorParams
from magellon.contracts import Context, Gain, MotionInput, Movie, Optics
from magellon.io.star import StarTable, write_star
from magellon.simulation.score import read_motion, score_motion
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import SessionSpec
from magellon.simulation.truth import SessionTruth, read_truth

THREADS = 2
SEED = 20260
RELION = "relion_run_motioncorr"


def run(work: Path, quick: bool) -> list[Row]:
    spec = SessionSpec(movies=6, seed=SEED)
    if quick:
        spec = replace(spec, movies=2, size=1024, frames=12, exposure_per_frame=2.0)
    session = work / "session"
    if not (session / "session.json").exists():
        simulate_session(session, spec)
    truth = read_truth(session)
    defocus = sorted(movie.optics.ctf.mean_defocus / 1e4 for movie in truth.movies)
    data = f"{spec.movies} movies {spec.frames}x{spec.size}x{spec.size}, {defocus[0]:.1f}-{defocus[-1]:.1f} µm, seed {SEED}"
    rows = [
        _measure_ours(session, truth, work / "magellon", data, local=True),
        _measure_ours(session, truth, work / "magellon_global", data, local=False),
    ]
    if shutil.which(RELION):
        rows.append(_measure_relion(session, truth, work / "relion", data, patches=5))
        rows.append(_measure_relion(session, truth, work / "relion_global", data, patches=1))
    return rows


def _measure_ours(session: Path, truth: SessionTruth, out: Path, data: str, *, local: bool) -> Row:
    backend, params = MotionCor(), MotionCorParams(local_motion=local)

    def correct(number: int) -> Path:
        true = truth.movies[number]
        folder = out / true.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        movie = Movie(
            name=true.name, path=session / true.file, pixel_size=true.pixel_size, optics=Optics(voltage=true.optics.voltage),
            exposure_per_frame=true.exposure_per_frame, pre_exposure=true.pre_exposure, gain=Gain(path=session / "gain.mrc"),
        )  # fmt: skip
        return backend.run(MotionInput(movie=movie), params, Context(workdir=folder, threads=THREADS)).star

    correct(0)  # the worker's child is warm
    count = len(truth.movies)
    stars, cost = measure_call(lambda: [correct(number) for number in range(count)])
    name = "magellon motioncor" + ("" if local else ", global only")
    note = "" if local else "peak memory is that of the process so far"
    return _row(name, data, cost, truth, stars, note)


def _measure_relion(session: Path, truth: SessionTruth, out: Path, data: str, *, patches: int) -> Row:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    first = truth.movies[0]
    # The link stands for a RELION project's folder of movies.
    (out / "movies").symlink_to(session / "movies")
    optics = StarTable(
        {
            "rlnOpticsGroupName": ["opticsGroup1"],
            "rlnOpticsGroup": [1],
            "rlnMicrographOriginalPixelSize": [first.pixel_size],
            "rlnVoltage": [first.optics.voltage],
            "rlnSphericalAberration": [first.optics.spherical_aberration],
            "rlnAmplitudeContrast": [0.1],
        }
    )
    names = [movie.file for movie in truth.movies]
    movies = StarTable({"rlnMicrographMovieName": names, "rlnOpticsGroup": [1] * len(names)})
    write_star(out / "movies.star", {"optics": optics, "movies": movies})
    command = [
        RELION, "--i", "movies.star", "--o", "job/", "--use_own", "--j", str(THREADS), "--dose_weighting", "--save_noDW",
        "--dose_per_frame", str(first.exposure_per_frame), "--preexposure", str(first.pre_exposure),
        "--patch_x", str(patches), "--patch_y", str(patches), "--bfactor", "150", "--bin_factor", "1",
        "--gainref", str(session / "gain.mrc"),
    ]  # fmt: skip
    cost = measure_command(command, out, out / "relion.log")
    stars = [out / "job" / "movies" / f"{movie.name}.star" for movie in truth.movies]
    return _row("RELION own" + (f" {patches}x{patches}" if patches > 1 else ", global only"), data, cost, truth, stars, "")


def _row(program: str, data: str, cost: Cost, truth: SessionTruth, stars: list[Path], note: str) -> Row:
    scores = [score_motion(movie, read_motion(star)) for movie, star in zip(truth.movies, stars, strict=True)]
    count = len(scores)
    accuracy = {
        "field RMS (Å)": _rms([score.field_rms for score in scores]),
        "worst field RMS (Å)": max(score.field_rms for score in scores),
        "global RMS (Å)": _rms([score.global_rms for score in scores]),
        "field RMS of true global (Å)": _rms([score.still_rms for score in scores]),
    }
    return Row(
        "motion_correction", program, data, count, cost.seconds / count, cost.cpu_seconds / count, cost.peak_megabytes,
        accuracy, THREADS, note,
    )  # fmt: skip


def _rms(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
