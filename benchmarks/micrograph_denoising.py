"""Denoising against two truths, the noise-free exposure and the particles alone; Topaz-Denoise beside it where it is installed.

SNR is cc² / (1 - cc²) of an image with its truth, so that neither scale nor offset counts. Invented structure is measured on
a field of ice without particles: what the output holds beyond the truth, per cent of the variance of the noise that was there
(an output equal to the truth has 0, the micrograph itself 100). Seams: the largest difference of a micrograph denoised in tiles
of 320 px and at once.

The proteins of the Protein Data Bank are looked for in the folder named by MAGELLON_STRUCTURES, and left out without one. No
network has seen them, nor the two phantoms, which `training/denoiser.py` leaves out. With `--work FOLDER` a picture of each
data set stays there, `micrograph_denoising/NAME.png`: the micrograph and its truth, then each output and what it took away.

Correlations are of rings of images whose edges have been faded (`TAPER`); those of the finest band are given without as well.

Measured whole on a busy machine, two micrographs of 1024 x 1024 px each; ours / Topaz-Denoise (0.3.20, unet), the better one as
far as three digits tell is ours but where a star stands. The second row of each is against the particles alone:

| specimen | truth | SNR | FRC 200-50 Å | 50-20 Å | 20-10 Å | 10-6 Å | untapered | left, taken on ice (%) | in difference (%) |
|---|---|---|---|---|---|---|---|---|---|
| asymmetric 191 Å | exposure | 3.39/3.12 | .974/.965 | .874/.861 | .510/.428 | .250/.212 | .249/.217 | 0.38/0.43, 99.7/95.1 | |
| | particles | .282/.174 | .693/.671 | .642/.580 | .430/.353 | .192/.163 | .190/.165 | | 8/26 |
| 2xhe 123 Å | exposure | 5.17/4.75 | .929/.905 | .777/.768 | .427/.353 | .192/.158 | .197/.166 | 0.48/0.57, 99.8/94.5 | |
| | particles | .0342/.0192 | .483/.435 | .376/.298 | .163/.111 | .053/.035 | .047/.033 | | 22/38 |
| barrel 183 Å | exposure | 5.32/4.67 | .942/.940 | .890/.883 | .472/.421 | .230/.194 | .249/.213 | 0.27/0.38, 99.9/94.5 | |
| | particles | .289/.208 | .549/.536 | .651/.609 | .324/.302 | .150/.136 | .142/.138 | | 6/18 |
| 7cfn 145 Å | exposure | 5.22/4.79 | .946/.924 | .814/.796 | .432/.354 | .191/.157 | .197/.164 | 0.48/0.57, 99.8/94.5 | |
| | particles | .0539/.0281 | .530/.487 | .442/.364 | .163/.113 | .059/.036 | .060/.039 | | 20/37 |
| 3jb9 346 Å | exposure | 2.26/1.85 | .948/.935 | .829/.793 | .417/.369 | .193/.172 | .194/.173 | 1.92/1.81*, 98.3/96.9 | |
| | particles | .223/.083 | .717/.702 | .692/.632 | .371/.304 | .145/.118 | .150/.119 | | 14/46 |

0.3 CPU seconds against 12 to 15; the micrographs themselves have an SNR of 0.19 to 0.28. Both truths are met better in every
band. Whether and how far edges are faded changes the figures and hardly the order: of 40 bands none is behind with 0.03, 0.05,
0.1, 0.25 or 0.5 of the image on each side, and without or with 0.01 one is, `barrel` from 200 to 50 Å against the exposure
(.9376/.9380 untapered). Before (version 6, untapered) one band was behind, the finest of `barrel` against the particles:
.128/.138, and .132/.136 tapered, so that it was no matter of edges. Two things were. The network's frequencies ended at a
square and those that only the micrograph holds began there, with other weights, so that one ring had several: with one circle
for both, and weights that are fitted to one target on either side, .133 tapered. And every frequency of a ring had one weight,
although the CTF leaves nothing of some of them: with a filter that knows the rings .150, to .001 what the true CTF gives.

On seven other specimens, one micrograph each, on which all was chosen (phantoms with thin walls, rings, a cage, the proteins
7ddo and 4v5d; 0.8 to 1.4 Å/px, other seeds), the means are, ours / ours without looking for rings / Topaz-Denoise, tapered:
against the exposure SNR 2.34/2.31/2.18, FRC .949/.949/.940, .824/.810/.805, .470/.436/.419 and .234/.201/.194; against the
particles .203/.194/.122, .483/.483/.453, .615/.601/.542, .312/.291/.264 and .116/.102/.099; untapered the finest bands are
.224/.196/.207 and .102/.090/.095. A microscope of 200 kV given instead of 300 loses .002 of the finest band.
More noise is left in strong particles than on ice, as more of the micrograph itself is shown there, so they are faint grey
patches in the difference.

No gain for picking: F1 of `dog` on the micrograph as it is / on ours is, in the same order, .98/.96, .92/.78, .97/.61, .98/.98
and .92/.96, that of `cnn` (version 7) .98/.98, .94/.94, .97/.93, .98/.98 and .96/.96; on Topaz's `cnn` is as on the
micrographs.

Three real micrographs were looked at: capsids, a large contamination, and the K2 micrograph of the package `mrcfile`. Particles
come out as a person sees them in the smoothed micrograph, none where it shows none; no seams. In the difference there are faint
discs where capsids lie, and the stripes and the edge of the contamination, which is far darker than anything else there. Only
the K2 micrograph shows Thon rings that are trusted; with them the strongest particles have a fringe or two about them that are
a little clearer than without.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cost import Cost, measure_call, measure_command
from benchmarks.denoising_difference import measure_difference, measure_taken, write_panels
from benchmarks.table import Row
from benchmarks.topaz import find_topaz
from magellon.algorithms.denoising.blend import Blend
from magellon.algorithms.denoising.denoise import denoise_image
from magellon.algorithms.denoising.tiles import run_in_tiles
from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.spectrum import taper_edges
from magellon.backends.cnn_picker.backend import CnnParams, CnnPicker
from magellon.backends.denoise.backend import Denoise, DenoiseParams
from magellon.backends.denoise.weights import DEFAULT_NETWORK, open_denoiser, read_blend
from magellon.backends.dog.backend import DogParams, DogPicker
from magellon.contracts import Context, DenoisingInput, Micrograph, PickingInput
from magellon.io.movie import open_movie
from magellon.io.mrc import read_mrc, write_mrc
from magellon.simulation.score import NO_PICKS, read_points, score_picks
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import DetectorRanges, MotionRanges, OpticsRanges, SessionSpec, SpecimenRanges
from magellon.simulation.truth import MovieTruth, read_truth

Image = NDArray[np.float32]
STRUCTURES = Path(os.environ.get("MAGELLON_STRUCTURES", Path(__file__).parents[2] / "shared" / "data" / "structures"))
SHOWN: dict[str, tuple[str | None, float]] = {
    "asymmetric": (None, 1.2), "2xhe": ("2xhe.cif.gz", 1.0),
    "barrel": (None, 0.9), "7cfn": ("7cfn.cif.gz", 1.0), "3jb9": ("3jb9.cif.gz", 2.0),
}  # fmt: skip
"""Name > file of a protein, or none for a phantom, and pixel size. The first two are those of `--quick`."""
BANDS = ((200, 50), (50, 20), (20, 10), (10, 6))
"""Å, of the Fourier ring correlations."""
TAPER = 0.1
"""Fraction of an image on each side over which it fades before its rings are correlated. Opposite edges do not fit together,
and the cross that this leaves in a transform is coarse structure in fine rings, where there is little else. 0.03 leaves some of
it where coarse structure is thirty times as strong as fine, and more than 0.1 only takes away micrograph."""
STILL = MotionRanges(net=(0, 0), jitter=(0, 0), local=(0, 0))
NO_DEFECTS = DetectorRanges(dead_pixels=(0, 0), hot_pixels=(0, 0))
EMPTY = SpecimenRanges(particles=(0, 0), contamination=(0, 0), carbon=0.0, beam_edge=0.0)


@dataclass(frozen=True)
class Case:
    """A micrograph and what it should look like."""

    path: Path
    pixel_size: float
    movie: MovieTruth
    diameter: float
    exposure: Image
    particles: Image

    @property
    def micrograph(self) -> Micrograph:
        return Micrograph(name=self.path.stem, path=self.path, pixel_size=self.pixel_size, shape=self.movie.shape)


def run(work: Path, quick: bool) -> list[Row]:
    """A phantom and a protein; without `quick` one more of the former, two of the latter, and twice the micrographs."""
    torch.set_num_threads(1)
    rows = []
    for name in tuple(SHOWN)[: 2 if quick else None]:
        file, pixel_size = SHOWN[name]
        if file is None or (STRUCTURES / file).is_file():
            rows += measure_specimen(work.resolve(), name, pixel_size, quick)
    return rows


def measure_specimen(work: Path, name: str, pixel_size: float, quick: bool) -> list[Row]:
    """Every program on micrographs of one kind of particle and on one of ice alone."""
    size, movies, file = 1024, 1 if quick else 2, SHOWN[name][0]
    spec = SessionSpec(
        movies=movies, size=size, frames=4, exposure_per_frame=9.0, pixel_size=pixel_size, seed=31,
        motion=STILL, optics=OpticsRanges(defocus=(8000, 25000)), camera=NO_DEFECTS, truth_images=True,
    )  # fmt: skip
    spec = replace(spec, pdb=STRUCTURES / file) if file else replace(spec, phantom=name)
    cases = make_cases(work / name, spec)
    ice = make_cases(work / f"{name}-ice", replace(spec, movies=1, specimen=EMPTY))
    label = f"{movies} micrographs {size}x{size}, {name} {cases[0].diameter:.0f} Å, {pixel_size} Å/px, 36 e/Å², 0.8-2.5 µm"
    programs: dict[str, Callable[[Case, Path], Cost]] = {"magellon denoise": denoise_ours}
    if find_topaz():
        programs["Topaz-Denoise unet"] = denoise_topaz
    rows = [_row("micrograph as it is", label, cases, [case.path for case in cases], Cost(0, 0, 0), ice)]
    folders = [work / f"{name}-{program.split()[0]}" for program in programs]
    for folder, (program, denoise) in zip(folders, programs.items(), strict=True):
        rows.append(measure_program(program, label, (cases, ice), denoise, folder))
    first = cases[0]
    outputs = [read_mrc(folder / "particles" / f"{first.path.stem}_denoised.mrc") for folder in folders]
    write_panels(work / f"{name}.png", read_mrc(first.path), first.exposure, outputs, pixel_size)
    return rows


def make_cases(folder: Path, spec: SessionSpec) -> list[Case]:
    """Simulate and sum the frames."""
    if not (folder / "session.json").exists():
        simulate_session(folder, spec, processes=1)
    truth, gain = read_truth(folder / "truth" / "truth.json"), read_mrc(folder / "gain.mrc")
    cases = []
    for movie in truth.movies:
        total = sum(open_movie(folder / movie.file), np.zeros(movie.shape, dtype=np.float32))
        path = folder / f"{movie.name}.mrc"
        write_mrc(path, (total * gain).astype(np.float32), spec.pixel_size)
        images = (read_mrc(folder / "truth" / f"{movie.name}_{each}.mrc") for each in ("exposure", "particles"))
        cases.append(Case(path, spec.pixel_size, movie, truth.diameter, *images))
    return cases


def measure_program(
    name: str, label: str, data: tuple[list[Case], list[Case]], denoise: Callable[[Case, Path], Cost], folder: Path
) -> Row:
    """Denoise everything; the costs are those of the micrographs with particles."""
    cases, ice = data
    for each in ("particles", "ice", "warm"):
        (folder / each).mkdir(parents=True, exist_ok=True)
    denoise_ours(ice[0], folder / "warm")  # loads libraries, as a worker does once
    costs = [denoise(case, folder / "particles") for case in cases]
    denoise(ice[0], folder / "ice")
    total = Cost(sum(c.seconds for c in costs), sum(c.cpu_seconds for c in costs), max(c.peak_megabytes for c in costs))
    outputs = [folder / "particles" / f"{case.path.stem}_denoised.mrc" for case in cases]
    row = _row(name, label, cases, outputs, total, ice, folder / "ice" / f"{ice[0].path.stem}_denoised.mrc")
    if denoise is denoise_ours:
        row = replace(row, accuracy={**row.accuracy, "seams (% of σ)": 100 * measure_seams(cases[0])})
    return row


def denoise_ours(case: Case, folder: Path) -> Cost:
    example = DenoisingInput(micrograph=case.micrograph)
    return measure_call(lambda: Denoise().run(example, DenoiseParams(), Context(workdir=folder)))[1]


def denoise_topaz(case: Case, folder: Path) -> Cost:
    topaz = find_topaz()
    assert topaz is not None
    arguments = ["denoise", "-d", "-1", "-j", "1", "--arch", "unet", "-o", str(folder), "--suffix", "_denoised", str(case.path)]
    return measure_command([*topaz, *arguments], folder, folder / "topaz.log")


def _row(
    name: str, label: str, cases: list[Case], outputs: list[Path], cost: Cost, ice: list[Case], ice_output: Path | None = None
) -> Row:
    images = [read_mrc(path) for path in outputs]
    accuracy: dict[str, float] = {}
    for what in ("exposure", "particles"):
        truths = [getattr(case, what) for case in cases]
        ratios = [signal_to_noise(image, truth) for image, truth in zip(images, truths, strict=True)]
        accuracy[f"SNR, {what}"] = float(np.mean(ratios))
        for band in BANDS:
            curves = [
                correlate_band(image, truth, case.pixel_size, band)
                for image, truth, case in zip(images, truths, cases, strict=True)
            ]
            accuracy[f"FRC {band[0]}-{band[1]} Å, {what}"] = float(np.mean(curves))
        untapered = [
            correlate_band(image, truth, case.pixel_size, BANDS[-1], 0)
            for image, truth, case in zip(images, truths, cases, strict=True)
        ]
        accuracy[f"the last untapered, {what}"] = float(np.mean(untapered))
    for picker in (DogPicker(), CnnPicker()):
        accuracy[f"F1 of {picker.name}"] = pick_all(cases, outputs, picker)
    noisy, empty = read_mrc(ice[0].path), read_mrc(ice_output or ice[0].path)
    accuracy["left on ice (% of noise)"] = 100 * measure_residue(empty, noisy, ice[0].exposure)
    if ice_output:
        accuracy["taken on ice (% of noise)"] = 100 * measure_taken(empty, noisy, ice[0].exposure)
        differences = [
            measure_difference(image, read_mrc(case.path), case.exposure, case.particles)
            for image, case in zip(images, cases, strict=True)
        ]
        accuracy |= {what: float(np.mean([each[what] for each in differences])) for what in differences[0]}
    count = len(cases)
    return Row(
        "micrograph_denoising", name, label, count, cost.seconds / count, cost.cpu_seconds / count,
        cost.peak_megabytes or None, accuracy,
    )  # fmt: skip


def signal_to_noise(image: Image, truth: Image) -> float:
    correlation = float(np.corrcoef(image.ravel(), truth.ravel())[0, 1])
    return correlation**2 / (1 - correlation**2)


def correlate_band(image: Image, truth: Image, pixel_size: float, band: tuple[float, float], taper: float = TAPER) -> float:
    """Mean over rings of the Fourier ring correlation between two resolutions in Å."""
    first, second = (np.fft.rfft2(taper_edges(torch.from_numpy(each), taper).numpy()) for each in (image, truth))
    k_row, k_column = rfft_frequencies((image.shape[0], image.shape[1]), pixel_size)
    k = torch.sqrt(k_row**2 + k_column**2).numpy()
    edges = np.linspace(1 / band[0], 1 / band[1], 9)
    values = []
    for low, high in pairwise(edges):
        ring = (k >= low) & (k < high)
        a, b = first[ring], second[ring]
        values.append((a * b.conj()).real.sum() / np.sqrt((np.abs(a) ** 2).sum() * (np.abs(b) ** 2).sum()))
    return float(np.mean(values))


def measure_residue(image: Image, noisy: Image, truth: Image) -> float:
    """Variance of what an image holds that its truth explains at no scale, relative to the same of the micrograph."""

    def leave(each: Image) -> float:
        correlation = float(np.corrcoef(each.ravel(), truth.ravel())[0, 1])
        return float(each.var()) * (1 - correlation**2)

    return leave(image) / leave(noisy)


def measure_seams(case: Case) -> float:
    """Largest difference between small tiles and none, in standard deviations of the denoised image."""
    network = open_denoiser(DEFAULT_NETWORK)
    blend: Blend = read_blend(network)
    image = torch.from_numpy(read_mrc(case.path))

    def run(tile: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(network(tile.numpy())[0])

    def run_small(tile: torch.Tensor) -> torch.Tensor:
        return run_in_tiles(tile[0, 0], run, tile=320)[None, None]

    whole, tiled = (denoise_image(image, case.pixel_size, each, blend=blend) for each in (run, run_small))
    return float((whole - tiled).abs().max() / whole.std())


def pick_all(cases: list[Case], images: list[Path], picker: DogPicker | CnnPicker) -> float:
    """F1 of a picker with the diameter given, everything else by default."""
    total = NO_PICKS
    for case, image in zip(cases, images, strict=True):
        folder = image.parent / f"picks-{picker.name}"
        folder.mkdir(exist_ok=True)
        given = PickingInput(micrograph=case.micrograph.model_copy(update={"path": image}))
        if isinstance(picker, DogPicker):
            output = picker.run(given, DogParams(diameter=case.diameter), Context(workdir=folder))
        else:
            output = picker.run(given, CnnParams(diameter=case.diameter), Context(workdir=folder))
        points = read_points(output.picks.path) if output.picks.count else np.zeros((0, 2))
        total += score_picks(case.movie, points, case.diameter)
    return total.f1
