"""Stacks of particles with known truth, made without micrographs: what classification is measured on.

`simulate_particles` writes what extraction would have (RELION 3.1 STAR, mass white, background of mean 0 and deviation 1) and
the truth beside it. `pick_from_noise` makes stacks of nothing but noise that a template was matched to ("Einstein from noise",
Henderson 2013, doi:10.1073/pnas.1314449110).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magellon.algorithms.extraction.normalise import Background, normalise_boxes, subtract_plane
from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import CtfModel, ctf_rfft
from magellon.io.mrc import MrcStackWriter
from magellon.io.star import StarTable, write_star
from magellon.simulation.invented import find_protein
from magellon.simulation.particle_images import BACKGROUND_RADIUS, BATCH, ParticleRenderer, make_views
from magellon.simulation.particle_scene import MicrographOptics, draw_scene
from magellon.simulation.particle_truth import ParticleSetSpec, ParticleSetTruth, write_particle_truth
from magellon.simulation.phantoms import AtomicModel
from magellon.simulation.projection import euler_matrices

BINNING = 2
"""Pixels of the micrographs the particles are said to come from, along one of the box."""
_NOISE_BATCH = 64


@dataclass(frozen=True)
class ParticleSet:
    """The files of a stack and its truth."""

    star: Path
    stack: Path
    truth: ParticleSetTruth
    diameter: float
    """Å, of the largest protein."""


def simulate_particles(
    folder: Path, spec: ParticleSetSpec | None = None, progress: Callable[[int, int], None] | None = None
) -> ParticleSet:
    """Write `particles.mrcs`, `particles.star`, `truth.star` and `truth.json` into a folder.

    The same specification gives the same bytes.

    Raises:
        BadInput: a specification no stack can be made from.
    """
    spec = spec or ParticleSetSpec()
    proteins = [find_protein(name) for name in spec.proteins]
    renderer = ParticleRenderer(spec, proteins)
    folder.mkdir(parents=True, exist_ok=True)

    def images() -> Iterator[Tensor]:
        for batch in range(renderer.batches):
            yield renderer.render(batch)
            if progress is not None:
                progress(min((batch + 1) * BATCH, spec.count), spec.count)

    stack = folder / "particles.mrcs"
    _write_stack(stack, spec, images())
    _write_tables(folder, spec, renderer.scene.truth, renderer.scene.optics, renderer.scene.coordinates)
    diameters = [round(protein.diameter, 1) for protein in proteins]
    about = asdict(spec) | {"diameters": diameters, "symmetries": [protein.symmetry for protein in proteins]}
    (folder / "truth.json").write_text(json.dumps(about, indent=1) + "\n")
    return ParticleSet(folder / "particles.star", stack, renderer.scene.truth, max(diameters))


def pick_from_noise(folder: Path, spec: ParticleSetSpec | None = None, rotations: int = 24) -> ParticleSet:
    """A stack of pure noise, each box centred where one view of the first protein, in some rotation, fits best."""
    spec = spec or ParticleSetSpec()
    spec = replace(spec, proteins=spec.proteins[:1], abundances=(), junk=1.0, junk_kinds={"empty": 1.0}, neighbours=0.0)
    protein = find_protein(spec.proteins[0])
    folder.mkdir(parents=True, exist_ok=True)
    templates = _draw_templates(spec, protein, rotations)
    stack = folder / "particles.mrcs"
    _write_stack(stack, spec, (_pick_noise(spec, batch, templates) for batch in range(-(-spec.count // _NOISE_BATCH))))
    scene = draw_scene(spec, np.array([protein.diameter]))
    _write_tables(folder, spec, scene.truth, scene.optics, scene.coordinates)
    return ParticleSet(folder / "particles.star", stack, scene.truth, protein.diameter)


def _draw_templates(spec: ParticleSetSpec, protein: AtomicModel, rotations: int) -> Tensor:
    """Transforms (rotations, 2 box, box + 1) of one view through a CTF, low-passed to 20 Å, turned in the plane."""
    size = 2 * spec.box
    psi = np.linspace(0, 360, rotations, endpoint=False)
    frames = euler_matrices(np.full(rotations, 40.0), np.full(rotations, 60.0), psi)[:, :2]
    k_row, k_column = rfft_frequencies((size, size), spec.pixel_size)
    transfer = -ctf_rfft(CtfModel(15000.0, 15000.0), (size, size), spec.pixel_size)
    transfer *= torch.exp(-(k_row**2 + k_column**2) * 20.0**2)
    return make_views(protein, spec.pixel_size, size).project(frames) * transfer


def _pick_noise(spec: ParticleSetSpec, batch: int, templates: Tensor) -> Tensor:
    """(up to _NOISE_BATCH, box, box): the best place within a box's width of fields of noise."""
    box, size = spec.box, 2 * spec.box
    count = min(_NOISE_BATCH, spec.count - batch * _NOISE_BATCH)
    generator = torch.Generator().manual_seed(int(np.random.default_rng([spec.seed, 5, batch]).integers(2**62)))
    k_row, k_column = rfft_frequencies((size, size), spec.pixel_size)
    colour = torch.sqrt(1 + 1.5 * torch.exp(-(k_row**2 + k_column**2) * 25.0**2))
    transform = torch.fft.rfft2(torch.randn(count, size, size, generator=generator)) * colour
    fit = torch.fft.irfft2(transform[:, None] * templates.conj(), s=(size, size)).amax(dim=1)
    start = box // 2
    best = fit[:, start : start + box, start : start + box].flatten(1).argmax(dim=1)
    step = torch.arange(box)
    rows, columns = (best // box)[:, None] + step, (best % box)[:, None] + step
    noise = torch.fft.irfft2(transform, s=(size, size))
    boxes = noise[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    background = Background.of_box(box, round(BACKGROUND_RADIUS * box))
    return normalise_boxes(subtract_plane(boxes, background), background)


def _write_stack(path: Path, spec: ParticleSetSpec, batches: Iterator[Tensor]) -> None:
    with MrcStackWriter(path, spec.box, spec.pixel_size) as writer:
        for batch in batches:
            for image in batch.numpy():
                writer.append(image)


def _write_tables(
    folder: Path, spec: ParticleSetSpec, truth: ParticleSetTruth, optics: MicrographOptics, coordinates: NDArray[np.float64]
) -> None:
    """`particles.star` with what a pipeline knows, `truth.star` with all."""
    groups, micrograph = spec.optics_groups, truth.micrograph
    fine = spec.pixel_size / BINNING
    table = StarTable(
        {
            "rlnOpticsGroup": list(range(1, groups + 1)),
            "rlnOpticsGroupName": [f"opticsGroup{number}" for number in range(1, groups + 1)],
            "rlnMicrographOriginalPixelSize": [fine] * groups,
            "rlnMicrographPixelSize": [fine] * groups,
            "rlnVoltage": [spec.voltage] * groups,
            "rlnSphericalAberration": [spec.spherical_aberration] * groups,
            "rlnAmplitudeContrast": [spec.amplitude_contrast] * groups,
            "rlnImagePixelSize": [spec.pixel_size] * groups,
            "rlnImageSize": [spec.box] * groups,
            "rlnImageDimensionality": [2] * groups,
        }
    )
    columns: dict[str, list[Any]] = {
        "rlnCoordinateX": coordinates[:, 0].tolist(),
        "rlnCoordinateY": coordinates[:, 1].tolist(),
        "rlnOriginXAngst": [0.0] * spec.count,
        "rlnOriginYAngst": [0.0] * spec.count,
        "rlnImageName": [f"{number:06d}@particles.mrcs" for number in range(1, spec.count + 1)],
        "rlnMicrographName": [f"mic{number + 1:05d}.mrc" for number in micrograph.tolist()],
        "rlnOpticsGroup": (optics.group[micrograph] + 1).tolist(),
        "rlnDefocusU": optics.defocus_u[micrograph].tolist(),
        "rlnDefocusV": optics.defocus_v[micrograph].tolist(),
        "rlnDefocusAngle": optics.defocus_angle[micrograph].tolist(),
        "rlnPhaseShift": [0.0] * spec.count,
    }
    write_star(folder / "particles.star", {"optics": table, "particles": StarTable(columns)})
    write_particle_truth(folder / "truth.star", truth, table, columns)
