"""`micrograph_denoising/topaz`: Topaz-Denoise (Bepler et al. 2020, doi:10.1038/s41467-020-18952-1) with its own models."""

from typing import Literal

import numpy as np

from magellon.backends.denoising_files import write_denoising_output
from magellon.contracts import MICROGRAPH_DENOISING, Backend, Context, DenoisingInput, DenoisingOutput, Params, Transient
from magellon.io.mrc import read_mrc, write_mrc

from .program import build_command, name_device


class TopazDenoiserParams(Params):
    model: Literal["unet", "unet-small", "affine"] = "unet"
    """Which of the models that Topaz ships and its command line reaches."""


class TopazDenoiser(Backend[DenoisingInput, TopazDenoiserParams, DenoisingOutput]):
    """Topaz-Denoise, run as a program of its own environment; tens of seconds for a micrograph on a CPU."""

    contract, name, version, Params = MICROGRAPH_DENOISING, "topaz", 2, TopazDenoiserParams

    def run(self, input: DenoisingInput, params: TopazDenoiserParams, context: Context) -> DenoisingOutput:
        micrograph = input.micrograph
        image = read_mrc(micrograph.path)
        source, out = context.workdir / "image.mrc", context.workdir / "out"
        write_mrc(source, image, micrograph.pixel_size)  # of a type that Topaz reads, whatever it was
        context.progress(0.05, "topaz denoise")
        context.command(build_command(list_arguments(params.model, context), context.threads))
        denoised = read_mrc(out / "image.mrc")
        if denoised.shape != image.shape or not np.isfinite(denoised).all():
            raise Transient(f"topaz denoise made an image of {denoised.shape} of {micrograph.path}, which is {image.shape}")
        for path in (source, out / "image.mrc"):
            path.unlink()
        out.rmdir()
        return write_denoising_output(context.workdir, micrograph, image, denoised)


def list_arguments(model: str, context: Context) -> list[str]:
    """Of `topaz denoise`. In 0.3.20 `--model` chooses nothing: what is loaded is what `--arch` names."""
    device = ["-d", name_device(context.device), "-j", str(context.threads)]
    return ["denoise", *device, "--model", model, "--arch", model, "-o", "out", "image.mrc"]
