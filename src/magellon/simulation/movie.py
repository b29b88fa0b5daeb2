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
from magellon.simulation.local_warp import LocalWarp
from magellon.simulation.phantoms import AtomicModel
from magellon.simulation.projection import Grid, euler_matrices, fast_size, fitting_box, project_atoms
from magellon.simulation.scattering import interaction_constant
from magellon.simulation.surroundings import Canvas, render_static
from magellon.simulation.truth import MovieTruth, OpticsTruth, ParticleTruth

_PARTICLE_MARGIN = 16.0
"""Å about a particle in its box: its atoms' tails and the propagation by its height."""


@dataclass(frozen=True)
class Boxes:
    """Particles of one model as transforms of phases in radians."""

    transforms: Tensor
    """(2, n, box, box // 2 + 1), centred at [box // 2, box // 2]: for the sine and for the cosine of the CTF."""
    points_px: NDArray[np.float64]
    """(n, 2): (x, y) in the field in the first frame."""
    box: int


class Renderer:
    """Expected electrons per pixel of a movie's frames."""

    def __init__(self, truth: MovieTruth, models: Sequence[AtomicModel], detector: Detector, seed: int) -> None:
        self.truth = truth
        self.canvas = canvas = plan_canvas(truth)
        self.k_row, self.k_column = rfft_frequencies(canvas.shape, canvas.pixel_size)
        self.k_squared, theta = specimen_frequencies(truth.optics, self.k_row, self.k_column)
        chi = ctf_phase(ctf_model(truth.optics), self.k_squared, theta)
        transfer = envelope(truth.optics, self.k_squared) * band_limit(truth.resolution, self.k_row, self.k_column)
        transfer *= signal_transfer(detector, self.k_row * truth.pixel_size, self.k_column * truth.pixel_size)
        self.sine, self.cosine = -2 * torch.sin(chi) * transfer, -2 * torch.cos(chi) * transfer
        self.coma = coma_phase(truth.optics, self.k_row, self.k_column)
        self.frailty = -1 / (2 * critical_exposure(torch.sqrt(self.k_squared), truth.optics.voltage))
        self.boxes = [boxes for boxes in self._project(models) if len(boxes.points_px)]
        static, self.beam = render_static(truth, canvas, np.random.default_rng([seed, truth.index]))
        self.absorption = torch.fft.rfft2(static.absorption)
        self.static_phase = torch.fft.rfft2(static.phase)
        self.drift = LocalWarp(truth.motion, canvas)
        self.generator = torch.Generator()
        self.ice_seed = int(np.random.default_rng([seed, truth.index, 1]).integers(2**62))
        loss = math.exp(-truth.surroundings.ice_thickness / inelastic_path(truth.optics.voltage))
        self.exposure = truth.exposure_per_frame * truth.pixel_size**2 * loss
        self._full = torch.zeros(canvas.full_shape[0], canvas.shape[1] // 2, dtype=torch.complex64)

    def frames(self) -> Iterator[NDArray[np.float32]]:
        """Expected electrons (height, width) before the detector's efficiency, frame by frame."""
        truth = self.truth
        ice = self._start_ice()
        for frame in range(truth.frames):
            exposure = truth.pre_exposure + (frame + 0.5) * truth.exposure_per_frame
            spectrum = self._particles(frame).mul_(torch.exp(self.frailty * exposure))
            frozen = self.drift.move(ice.advance().add_(self.static_phase), frame)
            spectrum += frozen.mul_(self.sine)
            spectrum -= self.absorption
            yield self._light(self._image(spectrum, truth.global_shifts[frame], truth.motion.blur[frame]))

    def exposed(self, *, ice: bool) -> NDArray[np.float32]:
        """The unmoved, undamaged first instant, free of shot noise: intensity relative to the mean, (height, width)."""
        spectrum = self._particles(0)
        if ice:
            spectrum += self._start_ice().advance().add_(self.static_phase).mul_(self.sine)
            spectrum -= self.absorption
        return np.asarray(self._image(spectrum, np.zeros(2), np.zeros(2)).numpy())

    def _image(self, spectrum: Tensor, shift: NDArray[np.float64], blur: NDArray[np.float64]) -> Tensor:
        """Relative intensity of the field from the transform of the contrast, which is changed."""
        if self.coma is not None:
            spectrum *= self.coma
        spectrum *= torch.exp(-2j * math.pi * shift[1] * self.k_row)
        spectrum *= torch.exp(-2j * math.pi * shift[0] * self.k_column)
        if np.hypot(*blur) > 0.05:
            spectrum *= torch.sinc(self.k_row * blur[1] + self.k_column * blur[0])
        (height, width), (rows, columns) = self.canvas.full_shape, self.canvas.shape
        scale = height * width / (rows * columns)
        half, kept = rows // 2, columns // 2
        torch.mul(spectrum[:half, :kept], scale, out=self._full[:half])
        torch.mul(spectrum[half:, :kept], scale, out=self._full[height - half :])
        top, left = self.canvas.offset
        # Only the rows the camera sees, and only the columns that hold anything.
        seen = torch.fft.ifft(self._full, dim=0)[top : top + self.truth.shape[0]]
        image: Tensor = torch.fft.irfft(seen, n=width, dim=1)[:, left : left + self.truth.shape[1]]
        return image + 1

    def _light(self, image: Tensor) -> NDArray[np.float32]:
        """Electrons from relative intensity; what the linear image makes darker than 2 % stays at that."""
        electrons = image.clamp(min=0.02).mul_(self.exposure)
        if self.beam is not None:
            electrons *= self.beam
        return np.asarray(electrons.numpy())

    def _particles(self, frame: int) -> Tensor:
        """The transform of all particles' contrast, each at its own local displacement in a frame."""
        canvases = torch.zeros(2, *self.canvas.shape)
        for boxes in self.boxes:
            local = self.truth.motion.local(boxes.points_px, frame) / self.canvas.pixel_size
            place = (boxes.points_px + self.canvas.offset[::-1]) * self.canvas.ratio + local
            place_boxes(canvases, boxes.transforms, place, boxes.box)
        total: Tensor = torch.fft.rfft2(canvases[0]).mul_(self.sine)
        return total.add_(torch.fft.rfft2(canvases[1]).mul_(self.cosine))

    def _project(self, models: Sequence[AtomicModel]) -> Iterator[Boxes]:
        truth, pixel_size = self.truth, self.canvas.pixel_size
        for index, model in enumerate(models):
            chosen = truth.particles.chosen(truth.particles.model == index)
            grid = Grid(fitting_box(model, pixel_size, _PARTICLE_MARGIN), pixel_size)
            phases = project_particles(model, chosen, truth.optics, grid)
            angle = height_phase(truth.optics, chosen.height, grid)
            yield Boxes(torch.stack([phases * torch.cos(angle), phases * torch.sin(angle)]), chosen.points_px, grid.box)

    def _start_ice(self) -> BrownianIce:
        truth, canvas = self.truth, self.canvas
        power = ice_phase_spectrum(torch.sqrt(self.k_squared), truth.surroundings.ice_thickness, truth.optics.voltage)
        # Power per Å^-2 to power of a discrete transform of this many pixels.
        amplitude = torch.sqrt(power * (canvas.shape[0] * canvas.shape[1])) / canvas.pixel_size
        self.generator.manual_seed(self.ice_seed)
        return BrownianIce(amplitude, self.k_squared, truth.exposure_per_frame, self.generator)


def project_particles(model: AtomicModel, particles: ParticleTruth, optics: OpticsTruth, grid: Grid) -> Tensor:
    """Phases in radians that particles give, as transforms (n, box, box // 2 + 1); broken ones lack some atoms."""
    frames = np.array(optics.magnification) @ euler_matrices(particles.rot, particles.tilt, particles.psi)[:, :2]
    kept = None
    if (particles.kind == "broken").any():
        plane = np.where(particles.kind == "broken", particles.cut[:, 3], np.inf)
        kept = particles.cut[:, :3] @ model.positions.T <= plane[:, None]
    return project_atoms(model, frames, grid, kept) * interaction_constant(optics.voltage)


def place_boxes(canvases: Tensor, transforms: Tensor, points_px: NDArray[np.float64], box: int) -> None:
    """Add boxes (c, n, box, box // 2 + 1) to c canvases, centres at points (n, 2), (x, y); what lies outside is cut off."""
    height, width = canvases.shape[-2:]
    whole = np.rint(points_px).astype(np.int64)
    rest = torch.from_numpy(points_px - whole).float()
    k_row, k_column = rfft_frequencies((box, box))
    down, across = (torch.exp(-2j * math.pi * rest[:, axis, None, None] * k) for axis, k in ((1, k_row), (0, k_column)))
    images = torch.fft.irfft2(transforms * (down * across), s=(box, box))
    for number, (x, y) in enumerate((whole - box // 2).tolist()):
        top, left = max(0, -y), max(0, -x)
        bottom, right = min(box, height - y), min(box, width - x)
        if top < bottom and left < right:
            canvases[:, y + top : y + bottom, x + left : x + right] += images[:, number, top:bottom, left:right]


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


def band_limit(resolution: float, k_row: Tensor, k_column: Tensor) -> Tensor:
    """1 at low frequency, falling to 0 over the last tenth before 1 / resolution."""
    k = torch.sqrt(k_row**2 + k_column**2) * resolution
    return 0.5 + 0.5 * torch.cos(math.pi * ((k - 0.9) / 0.1).clamp(0, 1))


def plan_canvas(truth: MovieTruth) -> Canvas:
    """Large enough that nothing that leaves the field on one side comes back on the other; coarse pixels if they suffice."""
    reach = float(np.abs(truth.global_shifts).max()) + truth.motion.amplitude
    margin = math.ceil((reach + 30.0) / truth.pixel_size) + 16
    wanted = min(1.0, 2 * truth.pixel_size / truth.resolution)
    part, whole = min((pair for pair in _RATIOS if pair[0] / pair[1] >= wanted - 1e-9), key=lambda pair: pair[0] / pair[1])
    height, width = (_full_size(side + 2 * margin, part, whole) for side in truth.shape)
    offset = ((height - truth.shape[0]) // 2, (width - truth.shape[1]) // 2)
    return Canvas((height * part // whole, width * part // whole), (height, width), offset, truth.pixel_size * whole / part)


_RATIOS = ((1, 4), (1, 3), (2, 5), (1, 2), (3, 5), (2, 3), (3, 4), (4, 5), (5, 6), (9, 10), (1, 1))


def _full_size(minimum: int, part: int, whole: int) -> int:
    size = fast_size(minimum)
    while size % whole or (size * part // whole) % 2:
        size = fast_size(size + 2)
    return size
