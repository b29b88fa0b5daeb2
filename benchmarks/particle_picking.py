"""Particle picking: ours and RELION's on the same simulated micrographs, against the truth."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.cost import Cost, measure_call, measure_command
from benchmarks.table import Row
from magellon.algorithms.picking import project_map
from magellon.backends.dog.backend import DogParams, DogPicker
from magellon.backends.template_picker.backend import TemplateParams, TemplatePicker
from magellon.contracts import Context, Ctf, Micrograph, Optics, PickingInput
from magellon.io.movie import open_movie
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import StarTable, write_star
from magellon.simulation.score import NO_PICKS, PickScore, read_points, score_picks
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import MotionRanges, OpticsRanges, SessionSpec
from magellon.simulation.truth import SessionTruth, read_truth

VIEWS = 12
CLASS_SPREAD = 0.3
"""Standard deviation of the references given to RELION, which compares grey values. Of 0.1, 0.3 and 1 the one that gave
RELION the best F1 on a micrograph of this benchmark, so that the comparison does it no wrong; at 1 it picks nothing."""
STILL = MotionRanges(net=(0, 0), jitter=(0, 0), local=(0, 0))


@dataclass(frozen=True)
class Case:
    """A simulated session whose movies are summed to micrographs, as picking needs no motion."""

    folder: Path
    truth: SessionTruth
    inputs: list[PickingInput]
    diameter: float
    label: str

    @property
    def templates(self) -> Path:
        return self.folder / "templates.mrcs"


def run(work: Path, quick: bool) -> list[Row]:
    """The simulator's standard protein; without `quick` also a small hollow one, an elongated one, and given diameters off."""
    specs = {"asymmetric": (1.2, 3 if quick else 10)}
    if not quick:
        specs |= {"shell": (1.4, 4), "rod": (1.2, 4), "barrel": (1.0, 4)}
    rows: list[Row] = []
    for phantom, (pixel_size, movies) in specs.items():
        case = make_case(work.resolve() / phantom, phantom, pixel_size, movies)
        rows += measure_ours(case)
        if shutil.which("relion_autopick"):
            rows += measure_relion(case)
    return rows


def make_case(folder: Path, phantom: str, pixel_size: float, movies: int, size: int = 2048) -> Case:
    """Simulate, sum the frames, project the templates."""
    spec = SessionSpec(
        movies=movies, size=size, frames=4, exposure_per_frame=6.25, pixel_size=pixel_size, seed=11, phantom=phantom,
        motion=STILL, optics=OpticsRanges(defocus=(8000, 25000)),
    )  # fmt: skip
    simulate_session(folder, spec)
    truth = read_truth(folder / "truth" / "truth.json")
    inputs = [_sum_movie(folder, spec, movie.name) for movie in truth.movies]
    volume = torch.from_numpy(read_mrc(folder / "truth" / "phantom_0.mrc"))
    write_mrc(folder / "templates.mrcs", project_map(volume, VIEWS).numpy(), pixel_size)
    diameter = truth.diameter
    label = f"{movies} micrographs {size}x{size}, {phantom} {diameter:.0f} Å, {pixel_size} Å/px, 0.8-2.5 µm, seed 11"
    return Case(folder, truth, inputs, diameter, label)


def measure_ours(case: Case) -> list[Row]:
    """Every picker of ours, after one micrograph to load libraries, as a worker does once."""
    dog, template = DogPicker(), TemplatePicker()
    given, views = DogParams(diameter=case.diameter), TemplateParams(templates=case.templates, diameter=case.diameter)
    pickers: dict[str, Callable[[PickingInput, Context], object]] = {
        "magellon dog, diameter given": lambda item, context: dog.run(item, given, context),
        "magellon dog, diameter 20 % small": lambda item, context: dog.run(
            item, DogParams(diameter=0.8 * case.diameter), context
        ),
        "magellon dog, diameter 20 % large": lambda item, context: dog.run(
            item, DogParams(diameter=1.2 * case.diameter), context
        ),
        "magellon dog, diameter proposed": lambda item, context: dog.run(item, DogParams(), context),
        f"magellon template-picker, {VIEWS} views, 10°, CTF": lambda item, context: template.run(item, views, context),
    }
    torch.set_num_threads(1)
    rows = []
    for number, (name, pick) in enumerate(pickers.items()):
        folder = case.folder / f"ours{number}"
        _pick_all(case.inputs[:1], folder / "warm", pick)
        _, cost = measure_call(lambda pick=pick, folder=folder: _pick_all(case.inputs, folder, pick))  # type: ignore[misc]
        rows.append(_row(case, name, cost, [folder / f"{item.micrograph.name}_autopick.star" for item in case.inputs]))
    return rows


def measure_relion(case: Case) -> list[Row]:
    """LoG with the true diameter, and the same templates as ours; default thresholds."""
    star = case.folder / "relion.star"
    _write_micrographs(case, star)
    views = read_mrc(case.templates)
    write_mrc(case.folder / "classes.mrcs", views * (CLASS_SPREAD / views.std()), case.inputs[0].micrograph.pixel_size)
    write_star(case.folder / "templates.star", {"": StarTable({
        "rlnReferenceImage": [f"{index + 1:06d}@classes.mrcs" for index in range(VIEWS)]
    })})  # fmt: skip
    low, high = f"{0.8 * case.diameter:.0f}", f"{1.1 * case.diameter:.0f}"
    common = ["relion_autopick", "--i", "relion.star", "--angpix", f"{case.inputs[0].micrograph.pixel_size}"]
    diameter = ["--particle_diameter", f"{case.diameter:.0f}", "--min_distance", f"{0.5 * case.diameter:.0f}"]
    commands = {
        "RELION LoG": [*common, "--LoG", "--LoG_diam_min", low, "--LoG_diam_max", high, "--shrink", "0"],
        f"RELION templates, {VIEWS} views, 10°, CTF": [
            *common, *diameter, "--ref", "templates.star", "--ang", "10", "--ctf", "--invert", "--lowpass", "20",
        ],
    }  # fmt: skip
    rows = []
    for number, (name, command) in enumerate(commands.items()):
        folder = f"relion{number}/"
        (case.folder / folder).mkdir(exist_ok=True)
        try:
            cost = measure_command([*command, "--odir", folder], case.folder, case.folder / f"relion{number}.log")
        except RuntimeError as error:  # It sometimes dies after its work, on the summary it draws.
            if not all(_find(case, folder, item.micrograph.name).is_file() for item in case.inputs):
                print(f"{name}: left out: {str(error)[-300:]}")
            else:
                print(f"{name}: left out: it picked, then died: {str(error)[-200:]}")
            continue
        rows.append(_row(case, name, cost, [_find(case, folder, item.micrograph.name) for item in case.inputs]))
    return rows


def _pick_all(inputs: list[PickingInput], folder: Path, pick: Callable[[PickingInput, Context], object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for item in inputs:
        pick(item, Context(workdir=folder))


def _row(case: Case, name: str, cost: Cost, stars: list[Path]) -> Row:
    total: PickScore = NO_PICKS
    for movie, star in zip(case.truth.movies, stars, strict=True):
        points = read_points(star) if star.is_file() and "_rlnCoordinateX" in star.read_text() else np.zeros((0, 2))
        total += score_picks(movie, points, case.diameter)
    count = len(case.inputs)
    accuracy = {
        "precision": total.precision,
        "recall": total.recall,
        "F1": total.f1,
        "centring RMS (Å)": total.centring_rms,
    }
    return Row(
        "particle_picking",
        name,
        case.label,
        count,
        cost.seconds / count,
        cost.cpu_seconds / count,
        cost.peak_megabytes,
        accuracy,
    )


def _sum_movie(folder: Path, spec: SessionSpec, name: str) -> PickingInput:
    """The frames' sum with the gain, as a micrograph with its true CTF."""
    truth = next(movie for movie in read_truth(folder / "truth" / "truth.json").movies if movie.name == name)
    total = np.zeros(truth.shape, dtype=np.float32)
    for frame in open_movie(folder / truth.file):
        total += frame
    total *= read_mrc(folder / "gain.mrc")
    (folder / "micrographs").mkdir(exist_ok=True)
    path = folder / "micrographs" / f"{name}.mrc"
    write_mrc(path, total, spec.pixel_size)
    fit = truth.apparent_ctf()
    ctf = Ctf(
        defocus_u=fit.defocus_u, defocus_v=fit.defocus_v, defocus_angle=fit.defocus_angle, score=1.0, resolution=4.0
    )  # fmt: skip
    optics = Optics(voltage=spec.voltage, spherical_aberration=spec.spherical_aberration)
    micrograph = Micrograph(name=name, path=path, pixel_size=spec.pixel_size, shape=truth.shape, optics=optics)
    return PickingInput(micrograph=micrograph, ctf=ctf)


def _write_micrographs(case: Case, star: Path) -> None:
    first = case.inputs[0].micrograph
    optics: dict[str, list[object]] = {
        "rlnOpticsGroupName": [first.optics.group],
        "rlnOpticsGroup": [1],
        "rlnMicrographOriginalPixelSize": [first.pixel_size],
        "rlnVoltage": [first.optics.voltage],
        "rlnSphericalAberration": [first.optics.spherical_aberration],
        "rlnAmplitudeContrast": [first.optics.amplitude_contrast],
        "rlnMicrographPixelSize": [first.pixel_size],
    }
    ctfs = [item.ctf for item in case.inputs if item.ctf is not None]
    rows: dict[str, list[object]] = {
        "rlnMicrographName": [f"micrographs/{item.micrograph.name}.mrc" for item in case.inputs],
        "rlnOpticsGroup": [1] * len(ctfs),
        "rlnDefocusU": [ctf.defocus_u for ctf in ctfs],
        "rlnDefocusV": [ctf.defocus_v for ctf in ctfs],
        "rlnDefocusAngle": [ctf.defocus_angle for ctf in ctfs],
    }
    write_star(star, {"optics": StarTable(optics), "micrographs": StarTable(rows)})


def _find(case: Case, folder: str, name: str) -> Path:
    found = sorted((case.folder / folder).rglob(f"{name}_autopick.star"))
    return found[0] if found else case.folder / folder / f"{name}_autopick.star"
