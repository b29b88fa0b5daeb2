"""Pixels of simulated particles: projections through their CTF, what lies about them, coloured noise, normalised."""

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magellon.algorithms.extraction.normalise import Background, normalise_boxes, subtract_plane
from magellon.algorithms.fourier import rfft_frequencies, rfft_shift
from magellon.algorithms.optics import CtfModel, ctf_rfft
from magellon.simulation.map_views import MapViews
from magellon.simulation.particle_scene import VARIANTS, Scene, draw_scene
from magellon.simulation.particle_truth import ParticleSetSpec
from magellon.simulation.phantoms import AtomicModel
from magellon.simulation.projection import Grid, euler_matrices, fast_size, fitting_box, render_map
from magellon.simulation.scene import denature
from magellon.simulation.surface_junk import draw_carbon, draw_crystals

BATCH = 512
BACKGROUND_RADIUS = 0.375
"""Of the box: pixels further from the centre are background, as in extraction."""
_MARGIN = 1.5
"""Images are made so much larger than the box, so that what the CTF spreads does not come in again at the other edge."""
_ABSORBED = 0.15
"""Of the phase that a thick object adds, what its absorption adds to the image, out of reach of the CTF."""
_SAMPLES = 96
"""Projections of each protein by which the noise is measured."""


class ParticleRenderer:
    """Images of a stack, batch by batch; any batch can be made by itself."""

    def __init__(self, spec: ParticleSetSpec, proteins: list[AtomicModel]) -> None:
        self.spec = spec
        self.scene: Scene = draw_scene(spec, np.array([protein.diameter for protein in proteins]))
        self.canvas = fast_size(math.ceil(_MARGIN * spec.box))
        self._shape = (self.canvas, self.canvas)
        seen = set(self.scene.objects.model.tolist()) | set(range(len(proteins)))
        self._cast = {
            number: make_views(self._find_model(number, proteins), spec.pixel_size, self.canvas) for number in sorted(seen)
        }
        k_row, k_column = rfft_frequencies(self._shape, spec.pixel_size)
        self._k_squared = k_row**2 + k_column**2
        self._envelope = torch.exp(-spec.envelope_b / 4 * self._k_squared)
        self._background = Background.of_box(spec.box, round(BACKGROUND_RADIUS * spec.box))
        self.phase, self.noise = self._measure(proteins)

    @property
    def batches(self) -> int:
        return -(-self.spec.count // BATCH)

    def render(self, batch: int) -> Tensor:
        """(up to BATCH, box, box): mass is white; the background has mean 0 and standard deviation 1."""
        spec = self.spec
        images = np.arange(batch * BATCH, min((batch + 1) * BATCH, spec.count))
        generator = torch.Generator().manual_seed(int(np.random.default_rng([spec.seed, 1, batch]).integers(2**62)))
        transfer = -ctf_rfft(self.ctf(images), self._shape, spec.pixel_size) * self._envelope
        thick = self._draw_thick(images, generator)
        transform = self._project(images) + torch.fft.rfft2(thick)
        seen = torch.fft.irfft2(transform * transfer, s=self._shape) + _ABSORBED * thick
        finished = self._crop(seen + self._draw_noise(images, transfer, generator))
        finished = normalise_boxes(subtract_plane(finished, self._background), self._background)
        return randomise_phases(finished, spec.pixel_size, spec.randomised_beyond, generator)

    def ctf(self, images: NDArray[np.int64]) -> CtfModel:
        """The true CTFs of some images."""
        optics, micrograph = self.scene.optics, self.scene.truth.micrograph[images]
        spec, height = self.spec, self.scene.height[images]
        u, v, angle = (
            torch.from_numpy(values).float()
            for values in (
                optics.defocus_u[micrograph] + height,
                optics.defocus_v[micrograph] + height,
                optics.defocus_angle[micrograph],
            )
        )
        return CtfModel(u, v, angle, 0.0, spec.voltage, spec.spherical_aberration, spec.amplitude_contrast)

    def _find_model(self, number: int, proteins: list[AtomicModel]) -> AtomicModel:
        """Whom an object's `model` stands for."""
        variant, protein = divmod(number, len(proteins))
        if variant == 0:
            return proteins[protein]
        ruin = break_model if variant <= VARIANTS else denature
        return ruin(proteins[protein], np.random.default_rng([self.spec.seed, 2, number]))

    def _project(self, images: NDArray[np.int64]) -> Tensor:
        """Transforms (n, canvas, canvas // 2 + 1) of everything in some images, in V Å."""
        objects = self.scene.objects
        rows = np.flatnonzero((objects.image >= images[0]) & (objects.image <= images[-1]))
        total = torch.zeros(len(images), self.canvas, self.canvas // 2 + 1, dtype=torch.complex64)
        frames = euler_matrices(objects.rot[rows], objects.tilt[rows], objects.psi[rows])[:, :2]
        shifts = torch.from_numpy(objects.place[rows, ::-1] / self.spec.pixel_size).float() + self.canvas // 2
        for model in np.unique(objects.model[rows]):
            chosen = objects.model[rows] == model
            views = rfft_shift(self._cast[int(model)].project(frames[chosen]), self._shape, shifts[torch.from_numpy(chosen)])
            total.index_add_(0, torch.from_numpy(objects.image[rows][chosen] - images[0]), views)
        return total

    def _draw_thick(self, images: NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """Carbon and crystals, (n, canvas, canvas), in V Å."""
        kind = self.scene.truth.kind[images]
        thick = torch.zeros(len(images), *self._shape)
        for name, draw in (("carbon", draw_carbon), ("crystal", draw_crystals)):
            chosen = torch.from_numpy(np.flatnonzero(kind == name))
            if len(chosen):
                thick[chosen] = self.phase * draw(len(chosen), self.canvas, self.spec.pixel_size, generator)
        return thick

    def _draw_noise(self, images: NDArray[np.int64], transfer: Tensor, generator: torch.Generator) -> Tensor:
        optics, micrograph = self.scene.optics, self.scene.truth.micrograph[images]
        group = torch.from_numpy(optics.group[micrograph]).float()[:, None, None]
        strength = torch.from_numpy(optics.noise[micrograph]).float()[:, None, None] * self.noise
        length, ice = 25 + 10 * group, 0.4 + 0.3 * (group % 2)
        power = 1 + 1.5 * torch.exp(-self._k_squared * length**2) + ice * transfer**2
        power = power / power.double().mean(dim=(-2, -1), keepdim=True).float()
        white = torch.fft.rfft2(torch.randn(len(images), *self._shape, generator=generator))
        noise: Tensor = strength * torch.fft.irfft2(white * power.sqrt(), s=self._shape)
        return noise

    def _crop(self, images: Tensor) -> Tensor:
        start = self.canvas // 2 - self.spec.box // 2
        return images[:, start : start + self.spec.box, start : start + self.spec.box]

    def _measure(self, proteins: list[AtomicModel]) -> tuple[float, float]:
        """Root mean square projected potential in V Å, and the noise in a pixel that gives the ratio asked for."""
        rng = np.random.default_rng([self.spec.seed, 3])
        images = rng.integers(0, self.spec.count, _SAMPLES)
        transfer = -ctf_rfft(self.ctf(images), self._shape, self.spec.pixel_size) * self._envelope
        tilt = np.degrees(np.arccos(rng.uniform(-1, 1, _SAMPLES)))
        frames = euler_matrices(rng.uniform(-180, 180, _SAMPLES), tilt, rng.uniform(-180, 180, _SAMPLES))[:, :2]
        axis = torch.arange(self.canvas) - self.canvas // 2
        phases, variances = [], []
        for number, protein in enumerate(proteins):
            plain = rfft_shift(self._cast[number].project(frames), self._shape, torch.full((_SAMPLES, 2), self.canvas // 2))
            inside = axis[:, None] ** 2 + axis**2 < (protein.diameter / 2 / self.spec.pixel_size) ** 2
            phases.append(float(torch.fft.irfft2(plain, s=self._shape)[:, inside].double().pow(2).mean().sqrt()))
            seen = torch.fft.irfft2(plain * transfer, s=self._shape)[:, inside].double()
            variances.append(float(seen.var(dim=1).mean()))
        return float(np.mean(phases)), math.sqrt(float(np.mean(variances)) / self.spec.snr)


def make_views(model: AtomicModel, pixel_size: float, box: int) -> MapViews:
    """Of a model in images of a given box."""
    return MapViews(render_map(model, Grid(fitting_box(model, pixel_size), pixel_size)), pixel_size, box)


def break_model(model: AtomicModel, rng: np.random.Generator) -> AtomicModel:
    """About half of a model: what lies on one side of a plane near its centre."""
    normal = rng.normal(size=3)
    height = model.positions @ (normal / np.linalg.norm(normal))
    kept = height > rng.uniform(-0.1, 0.1) * model.diameter
    return replace(
        model, name=f"{model.name}-broken", positions=model.positions[kept], elements=model.elements[kept], symmetry="C1"
    )


def randomise_phases(images: Tensor, pixel_size: float, beyond: float | None, generator: torch.Generator) -> Tensor:
    """Images (n, box, box) with random phases at resolutions finer than `beyond` Å, their amplitudes kept."""
    if beyond is None:
        return images
    k_row, k_column = rfft_frequencies((images.shape[-2], images.shape[-1]), pixel_size)
    transform = torch.fft.rfft2(images)
    noise = torch.fft.rfft2(torch.randn(images.shape, generator=generator))
    changed = (k_row**2 + k_column**2) > 1 / beyond**2
    transform = torch.where(changed, noise * (transform.abs() / noise.abs().clamp(min=1e-12)), transform)
    result: Tensor = torch.fft.irfft2(transform, s=(images.shape[-2], images.shape[-1]))
    return result
