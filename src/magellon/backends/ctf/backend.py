"""`ctf`: defocus, astigmatism and phase shift of a micrograph, by maximum likelihood."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from magellon.algorithms.ctf import CtfFit, CtfSearch, Microscope, estimate_ctf_from_polar
from magellon.algorithms.ctf.diagnostic import draw_diagnostic
from magellon.algorithms.spectrum import centred_power, measure_ice, periodogram
from magellon.algorithms.spectrum.polar import PolarSpectrum, polar_average, polar_average_spectrum
from magellon.backends.ctf.picture import draw_fit
from magellon.contracts import CTF_ESTIMATION, Backend, Context, Ctf, CtfInput, CtfOutput, Micrograph, Params
from magellon.errors import BadInput
from magellon.io.mrc import open_mrc, read_mrc, write_mrc
from magellon.io.picture import write_png
from magellon.io.star import StarTable, write_star
from magellon.units import Angstrom, Degree, Pixel

SMALLEST_SIDE = 128


class CtfParams(Params):
    min_resolution: Annotated[Angstrom, Field(gt=1, le=200)] | None = None
    """Where the fit begins; left out, 30 Å (more for pixels above 3.4 Å)."""
    max_resolution: Annotated[Angstrom, Field(gt=0.5, le=100)] | None = None
    """Where the fit ends; left out, 3 Å or 1.1 times Nyquist. Frequencies without rings do no harm."""
    min_defocus: Annotated[Angstrom, Field(ge=500, le=200000)] = 2000.0
    """Underfocus at which the search begins."""
    max_defocus: Annotated[Angstrom, Field(ge=500, le=200000)] = 60000.0
    """Underfocus at which the search ends."""
    max_astigmatism: Annotated[Angstrom, Field(ge=0, le=20000)] = 3000.0
    """Largest difference between the defocus along the two axes in the search."""
    phase_shift_search: bool = False
    """Whether to fit the phase shift of a phase plate; otherwise it is min_phase_shift."""
    min_phase_shift: Annotated[Degree, Field(ge=0, le=180)] = 0.0
    """Smallest phase shift of the search, or the known phase shift."""
    max_phase_shift: Annotated[Degree, Field(ge=0, le=180)] = 180.0
    """Largest phase shift of the search."""
    use_group_spectrum: bool = True
    """Also fit the sum of the power spectra of movie parts when motion correction gives it; the surer fit counts."""
    picture_size: Annotated[Pixel, Field(ge=128, le=1024)] = 512
    """Side of the diagnostic spectrum before it is cut at the end of the fit."""

    def search(self) -> CtfSearch:
        return CtfSearch(
            min_resolution=self.min_resolution,
            max_resolution=self.max_resolution,
            min_defocus=self.min_defocus,
            max_defocus=self.max_defocus,
            max_astigmatism=self.max_astigmatism,
            phase_shift=self.phase_shift_search,
            min_phase_shift=self.min_phase_shift,
            max_phase_shift=self.max_phase_shift,
        )


class CtfEstimation(Backend[CtfInput, CtfParams, CtfOutput]):
    """Searches all defocus values, astigmatisms and phase shifts, and refines the best by maximum likelihood."""

    contract = CTF_ESTIMATION
    name = "ctf"
    version = 3
    Params = CtfParams

    def run(self, input: CtfInput, params: CtfParams, context: Context) -> CtfOutput:
        micrograph, search = input.micrograph, params.search()
        optics = micrograph.optics
        microscope = Microscope(optics.voltage, optics.spherical_aberration, optics.amplitude_contrast)
        search.limits(micrograph.pixel_size)
        measured = [_measure_micrograph(micrograph, params.picture_size, context.device)]
        if input.group_spectrum is not None and params.use_group_spectrum:
            measured.append(_measure_spectrum(input.group_spectrum, context.device))
        fits = []
        for number, spectrum in enumerate(measured, 1):
            context.progress(0.2 + 0.3 * number, f"fitting {spectrum.path.name}")
            try:
                fits.append(estimate_ctf_from_polar(spectrum.polar, spectrum.pixel_size, microscope, search))
            except BadInput as error:
                raise BadInput(f"{spectrum.path}: {error}") from error
        surest = min(range(len(fits)), key=lambda index: (len(fits[index].warnings), fits[index].defocus_error))
        context.log.info("%s: fitted on %s", micrograph.name, measured[surest].path.name)
        output = _write_outputs(fits[surest], measured[surest], micrograph.name, context)
        ice = measure_ice(measured[0].polar)
        return output if ice is None else output.model_copy(update={"ice": round(ice, 4)})


@dataclass(frozen=True)
class Spectrum:
    """A power spectrum to fit, and where it came from."""

    path: Path
    pixel_size: float
    polar: PolarSpectrum
    power: Tensor
    """(size, size), centred, for the picture."""


def _measure_micrograph(micrograph: Micrograph, size: int, device: str) -> Spectrum:
    image = _read_image(micrograph.path).to(device)
    shape = (image.shape[0], image.shape[1])
    half_plane = periodogram(image)
    polar = polar_average(half_plane, shape, micrograph.pixel_size)
    return Spectrum(micrograph.path, micrograph.pixel_size, polar, centred_power(half_plane, shape, size))


def _measure_spectrum(path: Path, device: str) -> Spectrum:
    power, pixel_size = _read_spectrum(path)
    power = power.to(device)
    return Spectrum(path, pixel_size, polar_average_spectrum(power, pixel_size), power)


def _read_image(path: Path) -> Tensor:
    image = read_mrc(path)
    if image.ndim != 2 or min(image.shape) < SMALLEST_SIDE:
        raise BadInput(f"{path}: shape {image.shape}; CTF estimation needs one image of at least {SMALLEST_SIDE} px a side")
    if image.min() == image.max():
        raise BadInput(f"{path}: every pixel is {image.min()}; there is nothing to fit")
    return torch.from_numpy(np.ascontiguousarray(image))


def _read_spectrum(path: Path) -> tuple[Tensor, float]:
    with open_mrc(path) as mrc:
        pixel_size = mrc.header.pixel_size
        power = mrc.read(0)
    if power.shape[0] != power.shape[1] or power.shape[0] < SMALLEST_SIDE:
        raise BadInput(f"{path}: shape {power.shape}; a group spectrum is square, at least {SMALLEST_SIDE} px a side")
    if not pixel_size:
        raise BadInput(f"{path}: the header holds no pixel size, so the frequencies are unknown")
    if power.min() < 0 or power.max() == power.min():
        raise BadInput(f"{path}: values from {power.min()} to {power.max()} are no power spectrum")
    return torch.from_numpy(np.ascontiguousarray(power)), float(pixel_size)


def _write_outputs(fit: CtfFit, measured: Spectrum, name: str, context: Context) -> CtfOutput:
    spectrum, shown_pixel_size = draw_diagnostic(measured.power.cpu(), measured.pixel_size, fit)
    paths = {suffix: context.workdir / f"{name}_ctf{suffix}" for suffix in (".mrc", ".png", "_profile.star")}
    picture = spectrum.numpy()
    write_mrc(paths[".mrc"], picture, shown_pixel_size)
    write_png(paths[".png"], draw_fit(picture, fit, name))
    _write_profile(paths["_profile.star"], fit)
    for warning in fit.warnings:
        context.log.warning("%s: %s", name, warning)
    model = fit.model
    return CtfOutput(
        ctf=Ctf(
            defocus_u=round(float(model.defocus_u), 2),
            defocus_v=round(float(model.defocus_v), 2),
            defocus_angle=round(float(model.defocus_angle), 3),
            phase_shift=round(float(model.phase_shift), 3),
            score=round(fit.score, 4),
            resolution=round(fit.resolution, 3),
        ),
        defocus_error=round(fit.defocus_error, 1),
        astigmatism_error=round(fit.astigmatism_error, 1),
        warnings=fit.warnings,
        spectrum=paths[".mrc"],
        picture=paths[".png"],
        profile=paths["_profile.star"],
    )


def _write_profile(path: Path, fit: CtfFit) -> None:
    profile = fit.profile
    columns = {
        "rlnResolution": profile.frequency,
        "rlnAngstromResolution": 1 / profile.frequency,
        "mgnSpectrumMeasured": profile.measured,
        "mgnSpectrumFitted": profile.fitted,
        "mgnCtfSquared": profile.ctf_squared,
        "mgnRingAgreement": profile.agreement,
    }
    table = StarTable({label: [f"{value:.6f}" for value in column.tolist()] for label, column in columns.items()})
    write_star(path, {"ctf_profile": table})
