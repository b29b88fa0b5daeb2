"""`fft`: the power spectrum of a micrograph as a picture."""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from magellon.algorithms.spectrum import centred_power, periodogram
from magellon.algorithms.spectrum.display import crop_spectrum, flatten_spectrum
from magellon.contracts import FFT, Backend, Context, FftInput, FftOutput, Params
from magellon.errors import BadInput
from magellon.io.mrc import read_mrc
from magellon.io.picture import write_png
from magellon.units import Angstrom, Pixel

SMALLEST_SIDE = 32


class FftParams(Params):
    size: Annotated[Pixel, Field(ge=64, le=1024)] = 768
    """Side of the whole spectrum; smaller is smoother."""
    max_resolution: Annotated[Angstrom, Field(gt=0.1, le=100)] = 2.5
    """Where the picture ends, unless Nyquist comes first."""


class PowerSpectrum(Backend[FftInput, FftParams, FftOutput]):
    """Power spectrum with a flat background and an even contrast, so that Thon rings, drift and ice show at once."""

    contract = FFT
    name = "fft"
    version = 1
    Params = FftParams

    def run(self, input: FftInput, params: FftParams, context: Context) -> FftOutput:
        micrograph = input.micrograph
        image = read_mrc(micrograph.path)
        if image.ndim != 2 or min(image.shape) < SMALLEST_SIDE:
            raise BadInput(f"{micrograph.path}: shape {image.shape}; a power spectrum needs at least {SMALLEST_SIDE} px a side")
        context.progress(0.2, "transforming")
        tensor = torch.from_numpy(np.ascontiguousarray(image)).to(context.device)
        power = centred_power(periodogram(tensor), (image.shape[0], image.shape[1]), params.size)
        shown = flatten_spectrum(crop_spectrum(power, 2 * micrograph.pixel_size / params.max_resolution))
        picture = context.workdir / f"{micrograph.name}_fft.png"
        write_png(picture, ((shown.clamp(-1, 1) + 1) * 127.5).round().byte().cpu().numpy())
        return FftOutput(picture=picture)
