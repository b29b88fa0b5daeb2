"""The denoiser of our own."""

from pathlib import Path

import numpy as np
import torch

from magellon.algorithms.ctf import Microscope
from magellon.algorithms.denoising import denoise_image
from magellon.backends.denoise.weights import DEFAULT_NETWORK, open_denoiser, read_blend
from magellon.backends.denoising_files import write_denoising_output
from magellon.contracts import MICROGRAPH_DENOISING, Backend, BadInput, Context, DenoisingInput, DenoisingOutput, Params
from magellon.io.mrc import read_mrc


class DenoiseParams(Params):
    network: Path | None = None
    """A network trained by `magellon train denoiser`; left out, the one that comes with Magellon."""


class Denoise(Backend[DenoisingInput, DenoiseParams, DenoisingOutput]):
    """A small network takes off shot noise and brings out particles from the ice, at 4 Å/px whatever the pixels; in seconds."""

    contract, name, version, Params = MICROGRAPH_DENOISING, "denoise", 7, DenoiseParams

    def run(self, input: DenoisingInput, params: DenoiseParams, context: Context) -> DenoisingOutput:
        micrograph = input.micrograph
        context.progress(0.0, "reading")
        network = open_denoiser(params.network or DEFAULT_NETWORK, context.threads, context.device)
        image = read_mrc(micrograph.path)
        optics = micrograph.optics
        microscope = Microscope(optics.voltage, optics.spherical_aberration, optics.amplitude_contrast)

        def run(tile: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(network(tile.numpy())[0])

        try:
            denoised = denoise_image(
                torch.from_numpy(np.ascontiguousarray(image)),
                micrograph.pixel_size,
                run,
                lambda fraction: context.progress(0.1 + 0.8 * fraction, "denoising"),
                blend=read_blend(network),
                microscope=microscope,
            )
        except BadInput as error:
            raise BadInput(f"{micrograph.path}: {error}") from error
        return write_denoising_output(context.workdir, micrograph, image, denoised.numpy())
