"""From the truth of a movie to what its camera should see in each frame.

The weak-phase image is linear, so it is put together in Fourier space. Each particle is propagated to the movie's mean defocus
in a small box (exp(i pi lambda h k²) of its height h, a delocalisation of a few Å), which gives two real images: one that the
CTF -sin chi applies to and one for -cos chi. Boxes are placed with the particle's own displacement in each frame; the moving
ice is warped by the same field; the global displacement and the blur within a frame are factors of the transform.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import CtfModel, critical_exposure, ctf_phase, electron_wavelength
from magellon.simulation.detector import Detector, signal_transfer
from magellon.simulation.ice import BrownianIce, ice_phase_spectrum, inelastic_path
from magellon.simulation.motion_model import field_points, local_basis
from magellon.simulation.phantoms import AtomicModel
from magellon.simulation.projection import Grid, euler_matrices, fast_size, fitting_box, project_atoms
from magellon.simulation.scattering import interaction_constant
from magellon.simulation.surroundings import Canvas, render_static
from magellon.simulation.truth import MovieTruth, OpticsTruth, ParticleTruth

_PARTICLE_MARGIN = 16.0
"""Å about a particle in its box: its atoms' tails and the propagation by its height."""


@dataclass(frozen=True)
class Boxes:
    """Particles of one model as transforms (n, box, box // 2 + 1), centred at [box // 2, box // 2], phases in radians."""

    in_phase: Tensor
    quadrature: Tensor
    points_px: NDArray[np.float64]
    """(n, 2): (x, y) on the canvas in the first frame."""
    box: int


class Renderer:
    """Expected electrons per pixel of a movie's frames."""

    def __init__(self, truth: MovieTruth, models: Sequence[AtomicModel], detector: Detector, seed: int) -> None:
        self.truth, self.detector = truth, detector
        self.canvas = _plan_canvas(truth)
        shape, pixel_size = self.canvas.shape, truth.pixel_size
        self.k_row, self.k_column = rfft_frequencies(shape, pixel_size)
        self.k_squared, theta = specimen_frequencies(truth.optics, self.k_row, self.k_column)
        chi = ctf_phase(ctf_model(truth.optics), self.k_squared, theta)
        transfer = envelope(truth.optics, self.k_squared) * signal_transfer(
            detector, self.k_row * pixel_size, self.k_column * pixel_size
        )
        self.sine, self.cosine = -2 * torch.sin(chi) * transfer, -2 * torch.cos(chi) * transfer
        self.coma = coma_phase(truth.optics, self.k_row, self.k_column)
        self.boxes = [boxes for boxes in self._project(models) if len(boxes.points_px)]
        static, self.beam = render_static(truth, self.canvas, np.random.default_rng([seed, truth.index]))
        self.absorption = torch.fft.rfft2(static.absorption)
        self.static_phase = static.phase
        self.loss = math.exp(-truth.surroundings.ice_thickness / inelastic_path(truth.optics.voltage))
        self.exposure = truth.exposure_per_frame * pixel_size**2 * self.loss
        self.k = torch.sqrt(self.k_squared)
        self.frailty = -1 / (2 * critical_exposure(self.k, truth.optics.voltage))
        self.drift = _dense_fields(truth, self.canvas)
        self.generator = torch.Generator().manual_seed(seed * 1_000_003 + truth.index)

    def frames(self) -> Iterator[NDArray[np.float32]]:
        """Expected electrons (height, width) before the detector's efficiency, frame by frame."""
        truth = self.truth
        ice = self._start_ice()
        for frame in range(truth.frames):
            exposure = truth.pre_exposure + (frame + 0.5) * truth.exposure_per_frame
            spectrum = self._particles(frame).mul_(torch.exp(self.frailty * exposure))
            phase = torch.fft.irfft2(ice.advance(), s=self.canvas.shape) + self.static_phase
            spectrum += torch.fft.rfft2(self._warp(phase, frame)) * self.sine
            yield self._image(spectrum, truth.global_shifts[frame], truth.motion.blur[frame])

    def exposed(self, *, ice: bool) -> NDArray[np.float32]:
        """The unmoved, undamaged first instant, free of shot noise: intensity relative to the mean, (height, width)."""
        spectrum = self._particles(0)
        if ice:
            phase = torch.fft.irfft2(self._start_ice().advance(), s=self.canvas.shape) + self.static_phase
            spectrum = spectrum + torch.fft.rfft2(phase) * self.sine
        still = np.zeros(2)
        image = self._image(spectrum, still, still, absorb=ice)
        return image / np.float32(self.exposure)

    def _image(
        self, spectrum: Tensor, shift: NDArray[np.float64], blur: NDArray[np.float64], *, absorb: bool = True
    ) -> NDArray[np.float32]:
        if self.coma is not None:
            spectrum = spectrum * self.coma
        if absorb:
            spectrum = spectrum - self.absorption
        spectrum = spectrum * torch.exp(-2j * math.pi * shift[1] * self.k_row)
        spectrum *= torch.exp(-2j * math.pi * shift[0] * self.k_column)
        if np.hypot(*blur) > 0.05:
            spectrum *= torch.sinc(self.k_row * blur[1] + self.k_column * blur[0])
        top, left = self.canvas.offset
        height, width = self.truth.shape
        image = torch.fft.irfft2(spectrum, s=self.canvas.shape)[top : top + height, left : left + width]
        image = (1 + image).clamp_(min=0.02) * self.exposure
        return np.asarray((image * self.beam if absorb and self.beam is not None else image).numpy())

    def _particles(self, frame: int) -> Tensor:
        """The transform of all particles' contrast, each at its own local displacement in a frame."""
        in_phase, quadrature = torch.zeros(2, *self.canvas.shape).unbind()
        top, left = self.canvas.offset
        for boxes in self.boxes:
            local = self.truth.motion.local(boxes.points_px - (left, top), frame) / self.truth.pixel_size
            place_boxes(in_phase, boxes.in_phase, boxes.points_px + local, boxes.box)
            place_boxes(quadrature, boxes.quadrature, boxes.points_px + local, boxes.box)
        total: Tensor = torch.fft.rfft2(in_phase).mul_(self.sine)
        return total.add_(torch.fft.rfft2(quadrature).mul_(self.cosine))

    def _project(self, models: Sequence[AtomicModel]) -> Iterator[Boxes]:
        truth, particles = self.truth, self.truth.particles
        offset = np.array(self.canvas.offset[::-1])
        for index, model in enumerate(models):
            chosen = particles.chosen(particles.model == index)
            box = fitting_box(model, truth.pixel_size, _PARTICLE_MARGIN)
            phases = project_particles(model, chosen, truth.optics, Grid(box, truth.pixel_size))
            angle = height_phase(truth.optics, chosen.height, Grid(box, truth.pixel_size))
            yield Boxes(phases * torch.cos(angle), phases * torch.sin(angle), chosen.points_px + offset, box)

    def _start_ice(self) -> BrownianIce:
        truth = self.truth
        power = ice_phase_spectrum(self.k, truth.surroundings.ice_thickness, truth.optics.voltage)
        # Power per Å^-2 to power of a discrete transform of this many pixels.
        pixels = self.canvas.shape[0] * self.canvas.shape[1]
        amplitude = torch.sqrt(power * pixels) / truth.pixel_size
        self.generator.manual_seed(self.generator.initial_seed())
        return BrownianIce(amplitude, self.k_squared, truth.exposure_per_frame, self.generator)

    def _warp(self, phase: Tensor, frame: int) -> Tensor:
        """Move the ice by the local displacement of a frame."""
        if not self.truth.motion.temporal[:, frame].any():
            return phase
        field = torch.zeros_like(self.drift[0])
        for mode, amount in zip(self.drift, self.truth.motion.temporal[:, frame], strict=True):
            field.add_(mode, alpha=float(amount))
        height, width = self.canvas.shape
        field[..., 0] += torch.linspace(-1, 1, width)[None, :]
        field[..., 1] += torch.linspace(-1, 1, height)[:, None]
        return torch.nn.functional.grid_sample(
            phase[None, None], field[None], mode="bicubic", padding_mode="border", align_corners=True
        )[0, 0]


def project_particles(model: AtomicModel, particles: ParticleTruth, optics: OpticsTruth, grid: Grid) -> Tensor:
    """Phases in radians that particles give, as transforms (n, box, box // 2 + 1); broken ones lack some atoms."""
    frames = np.array(optics.magnification) @ euler_matrices(particles.rot, particles.tilt, particles.psi)[:, :2]
    kept = None
    if (particles.kind == "broken").any():
        plane = np.where(particles.kind == "broken", particles.cut[:, 3], np.inf)
        kept = particles.cut[:, :3] @ model.positions.T <= plane[:, None]
    return project_atoms(model, frames, grid, kept) * interaction_constant(optics.voltage)


def place_boxes(canvas: Tensor, transforms: Tensor, points_px: NDArray[np.float64], box: int) -> None:
    """Add boxes (n, box, box // 2 + 1) to a canvas, their centres at points (n, 2), (x, y); what lies outside is cut off."""
    height, width = canvas.shape
    whole = np.rint(points_px).astype(np.int64)
    rest = torch.from_numpy(points_px - whole).float()
    k_row, k_column = rfft_frequencies((box, box))
    moved = transforms * torch.exp(-2j * math.pi * rest[:, 1, None, None] * k_row)
    moved *= torch.exp(-2j * math.pi * rest[:, 0, None, None] * k_column)
    images = torch.fft.irfft2(moved, s=(box, box))
    for image, (x, y) in zip(images, whole - box // 2, strict=True):
        top, left = max(0, -y), max(0, -x)
        bottom, right = min(box, height - y), min(box, width - x)
        if top < bottom and left < right:
            canvas[y + top : y + bottom, x + left : x + right] += image[top:bottom, left:right]


def height_phase(optics: OpticsTruth, heights: NDArray[np.float64], grid: Grid) -> Tensor:
    """pi lambda h k² in radians: (n, box, box // 2 + 1)."""
    k_row, k_column = rfft_frequencies((grid.box, grid.box), grid.pixel_size)
    k_squared, _ = specimen_frequencies(optics, k_row, k_column)
    return math.pi * electron_wavelength(optics.voltage) * torch.from_numpy(heights).float()[:, None, None] * k_squared


def specimen_frequencies(optics: OpticsTruth, k_row: Tensor, k_column: Tensor) -> tuple[Tensor, Tensor]:
    """Squared frequency and direction in the specimen of frequencies in the image (anisotropic magnification)."""
    (xx, xy), (yx, yy) = optics.magnification
    in_x, in_y = xx * k_column + yx * k_row, xy * k_column + yy * k_row
    return in_x**2 + in_y**2, torch.atan2(in_y, in_x)


def ctf_model(optics: OpticsTruth) -> CtfModel:
    """The CTF at the mean height."""
    ctf = optics.ctf
    return CtfModel(
        ctf.defocus_u,
        ctf.defocus_v,
        ctf.defocus_angle,
        ctf.phase_shift,
        optics.voltage,
        optics.spherical_aberration,
        optics.amplitude_contrast,
    )


def envelope(optics: OpticsTruth, k_squared: Tensor) -> Tensor:
    return torch.exp(-optics.envelope_b / 4 * k_squared)


def coma_phase(optics: OpticsTruth, k_row: Tensor, k_column: Tensor) -> Tensor | None:
    """The factor a tilted beam gives to the image's transform: exp(-2 pi i Cs lambda² k² (k . tilt)); None without tilt."""
    if optics.beam_tilt == (0.0, 0.0):
        return None
    tilt_x, tilt_y = (value * 1e-3 for value in optics.beam_tilt)
    scale = 2 * math.pi * optics.spherical_aberration * 1e7 * electron_wavelength(optics.voltage) ** 2
    angle = scale * (k_row**2 + k_column**2) * (k_column * tilt_x + k_row * tilt_y)
    return torch.polar(torch.ones_like(angle), -angle)


def _dense_fields(truth: MovieTruth, canvas: Canvas) -> Tensor:
    """What each temporal mode of the local motion takes from the place at which a pixel looks into the ice.

    Returns:
        (modes, height, width, 2) in halves of the canvas, (x, y), the units of `grid_sample`; zero motion gives zero.
    """
    height, width = canvas.shape
    top, left = canvas.offset
    points = field_points(truth.shape, canvas.knots)
    basis = local_basis(points, truth.shape, truth.motion.bell)
    knots = -(basis @ np.swapaxes(truth.motion.coefficients, 1, 2)) / truth.pixel_size * (2 / (width - 1), 2 / (height - 1))
    field = torch.from_numpy(knots).float().reshape(-1, canvas.knots, canvas.knots, 2).permute(0, 3, 1, 2)
    dense = torch.nn.functional.interpolate(field, size=truth.shape, mode="bicubic", align_corners=True)
    below, right = height - top - truth.shape[0], width - left - truth.shape[1]
    padded = torch.nn.functional.pad(dense, (left, right, top, below), mode="replicate")
    return padded.permute(0, 2, 3, 1).contiguous()


def _plan_canvas(truth: MovieTruth) -> Canvas:
    """Large enough that nothing that leaves the field on one side comes back on the other."""
    reach = float(np.abs(truth.global_shifts).max()) if truth.frames > 1 else 0.0
    margin = math.ceil((reach + 20.0) / truth.pixel_size) + 16
    height, width = (fast_size(side + 2 * margin) for side in truth.shape)
    return Canvas((height, width), ((height - truth.shape[0]) // 2, (width - truth.shape[1]) // 2))
