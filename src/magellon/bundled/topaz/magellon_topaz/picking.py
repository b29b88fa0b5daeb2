"""`particle_picking/topaz`: Topaz (Bepler et al. 2019, doi:10.1038/s41592-019-0575-8) with its own models or one of yours."""

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from magellon.algorithms.picking.peaks import Peaks
from magellon.backends.picking_files import write_picking_output
from magellon.contracts import PARTICLE_PICKING, Backend, BadInput, Context, Params, PickingInput, PickingOutput
from magellon.io.mrc import read_mrc, write_mrc
from magellon.units import Angstrom

from .coordinates import Pick, read_coordinates
from .program import build_command, name_device
from .scale import choose_factor, scale_back


class TopazPickerParams(Params):
    diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    """Longest extent of the particle; left out, the one surveyed for the session."""
    threshold: float = 0.0
    """Least score, a log-likelihood ratio: at 0 a place is as likely a particle as not."""
    model: Literal["resnet16", "resnet16_u32", "resnet8", "resnet8_u32"] = "resnet16"
    """Which of the models that Topaz ships."""
    trained: Path | None = None
    """A model trained with Topaz, instead of those it ships."""
    reduction: Annotated[int, Field(ge=1, le=64)] | None = None
    """By what the micrograph is reduced; left out, so that the particle is about 20 px across."""
    separation: Annotated[float, Field(ge=0.1, le=2)] = 0.5
    """Least distance of two picks, in diameters."""


class TopazPicker(Backend[PickingInput, TopazPickerParams, PickingOutput]):
    """Topaz's pretrained picker, run as a program of its own environment."""

    contract, name, version, Params = PARTICLE_PICKING, "topaz", 1, TopazPickerParams

    def run(self, input: PickingInput, params: TopazPickerParams, context: Context) -> PickingOutput:
        micrograph = input.micrograph
        diameter = params.diameter or input.diameter
        if diameter is None:
            raise BadInput(f"{micrograph.path}: Topaz needs the particle's diameter; none was given, and none surveyed")
        image = read_mrc(micrograph.path)
        factor = params.reduction or choose_factor(diameter, micrograph.pixel_size, (image.shape[0], image.shape[1]))
        scratch = context.workdir / "scratch"
        scratch.mkdir()
        write_mrc(scratch / "image.mrc", image, micrograph.pixel_size)  # of a type that Topaz reads, whatever it was
        device = ["-d", name_device(context.device), "-j", str(context.threads)]
        context.progress(0.05, "topaz preprocess")
        context.command(
            build_command(
                ["preprocess", *device, "-s", str(factor), "-o", "scratch/reduced", "scratch/image.mrc"], context.threads
            )
        )
        context.progress(0.5, "topaz extract")
        radius = max(1, round(params.separation * diameter / micrograph.pixel_size / factor / 2))
        model = str(params.trained) if params.trained else params.model
        scoring = ["-m", model, "-r", str(radius), "-t", str(params.threshold), "-o", "scratch/picks.txt"]
        context.command(build_command(["extract", *device, *scoring, "scratch/reduced/image.mrc"], context.threads))
        picks = read_coordinates(scratch / "picks.txt")
        _remove(scratch)
        peaks = make_peaks(picks, (image.shape[0], image.shape[1]), factor)
        context.progress(0.95, f"{len(picks)} picks")
        everywhere = torch.ones(1, 1, dtype=torch.bool)
        return write_picking_output(context.workdir, micrograph, torch.from_numpy(image), diameter, peaks, everywhere)


def make_peaks(picks: list[Pick], shape: tuple[int, int], factor: int) -> Peaks:
    """Picks of the reduced image in pixels of the micrograph, (height, width)."""
    height, width = shape
    places = [(scale_back(pick.x, width, factor), scale_back(pick.y, height, factor)) for pick in picks]
    coordinates = torch.tensor(places, dtype=torch.float64).reshape(-1, 2)
    return Peaks(coordinates, torch.tensor([pick.score for pick in picks], dtype=torch.float64))


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
