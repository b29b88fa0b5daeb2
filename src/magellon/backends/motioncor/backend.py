"""`motioncor`: movies to aligned micrographs on CPU or GPU, with our own algorithm."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from magellon.algorithms.motion import Budget, MotionResult, MotionSettings, MotionSummary, correct_motion, summarise_motion
from magellon.algorithms.parallel import map_in_order
from magellon.backends.motioncor.plot import draw_motion
from magellon.backends.motioncor.relion_star import MotionMetadata, write_motion_star
from magellon.backends.motioncor.used_frames import UsedFrames, choose_eer_grouping
from magellon.contracts import (
    MOTION_CORRECTION,
    Backend,
    BadInput,
    Context,
    GainOrientation,
    Micrograph,
    MotionInput,
    MotionOutput,
    Movie,
    Params,
)
from magellon.io.defects import read_defects
from magellon.io.gain import read_gain
from magellon.io.movie import open_movie
from magellon.io.mrc import write_mrc
from magellon.io.picture import write_png
from magellon.units import Angstrom


class MotionCorParams(Params):
    local_motion: bool = True
    """Correct motion that differs over the field, not only the movement of the whole."""
    patch_size: Annotated[Angstrom, Field(ge=100, le=5000)] = 500.0
    """Side of the areas on which local motion is measured."""
    binning: Annotated[float, Field(ge=1, le=16)] = 1.0
    """Fourier cropping of the micrograph: 2 halves its size, for super-resolution movies."""
    dose_weighting: bool = True
    """Weight each frame by what radiation has left of the specimen at each frequency; needs the exposure per frame."""
    first_frame: Annotated[int, Field(ge=1)] = 1
    """First frame used, counted from 1."""
    last_frame: Annotated[int, Field(ge=0)] = 0
    """Last frame used; 0 means the last of the movie."""
    hot_pixel_sigma: Annotated[float, Field(ge=3, le=100)] = 6.0
    """A pixel whose sum over the movie is further than this many standard deviations from its surroundings is replaced."""
    half_sums: bool = True
    """Write the sums of even and odd frames, which denoising learns from."""
    eer_grouping: Annotated[int, Field(ge=0, le=1000)] = 0
    """Raw EER frames summed to one; 0 means as many as give about 1 e/Å²."""
    eer_upsampling: Literal[1, 2] = 1
    """2 uses the sub-pixel positions of an EER movie: twice the size, half the pixel size."""


class MotionCor(Backend[MotionInput, MotionCorParams, MotionOutput]):
    """Motion correction by jointly fitted smooth motion, dose weighting included."""

    contract, name, Params = MOTION_CORRECTION, "motioncor", MotionCorParams
    version = 3

    def run(self, input: MotionInput, params: MotionCorParams, context: Context) -> MotionOutput:
        movie = input.oriented_movie
        grouping = params.eer_grouping or choose_eer_grouping(movie)
        with open_movie(movie.path, eer_upsampling=params.eer_upsampling, eer_grouping=grouping) as reader:
            is_eer = reader.format == "eer"
            frames = UsedFrames(reader, params.first_frame, params.last_frame)
            shape = (reader.height, reader.width)
            gain = _read_gain(movie, reader.format, shape, context.device)
            defects = _read_defects(movie, shape, context.device)
            exposure = None if movie.exposure_per_frame is None else movie.exposure_per_frame * (grouping if is_eer else 1)
            pixel_size = movie.pixel_size / (params.eer_upsampling if is_eer else 1)
            pre_exposure = movie.pre_exposure + (params.first_frame - 1) * (exposure or 0.0)
            settings = MotionSettings(
                local_motion=params.local_motion, patch_size=params.patch_size, binning=params.binning,
                voltage=movie.optics.voltage, exposure_per_frame=exposure, pre_exposure=pre_exposure,
                dose_weighting=params.dose_weighting, hot_pixel_sigma=params.hot_pixel_sigma,
            )  # fmt: skip
            budget = Budget(context.threads, context.memory)
            try:
                result = correct_motion(
                    frames.on(context.device), pixel_size, settings,
                    gain=gain, defects=defects, budget=budget, report=context.progress,
                )  # fmt: skip
            except BadInput as error:
                raise error if str(movie.path) in str(error) else BadInput(f"{movie.path}: {error}") from error
            metadata = MotionMetadata(
                movie_name=f"movies/{movie.name}{''.join(movie.path.suffixes[-1:])}", shape=shape, frames=reader.frames,
                pixel_size=pixel_size, voltage=movie.optics.voltage, start_frame=params.first_frame, binning=params.binning,
                exposure_per_frame=exposure, pre_exposure=movie.pre_exposure, gain_name=_gain_name(movie),
                defect_name=None if movie.defects is None else f"movies/{movie.defects.name}",
                eer_upsampling=params.eer_upsampling if is_eer else None, eer_grouping=grouping if is_eer else None,
            )  # fmt: skip
        context.progress(0.9, "writing")
        return _write(result, movie, metadata, settings, params.half_sums, context)


def _write(
    result: MotionResult, movie: Movie, metadata: MotionMetadata, settings: MotionSettings, half_sums: bool, context: Context
) -> MotionOutput:
    folder, name = context.workdir, movie.name
    weighted = result.micrograph is not result.unweighted
    images: dict[Path, Tensor] = {folder / f"{name}.mrc": result.micrograph, folder / f"{name}_PS.mrc": result.group_spectrum}
    if weighted:
        images[folder / f"{name}_noDW.mrc"] = result.unweighted
    if half_sums:
        images[folder / f"{name}_EVN.mrc"] = result.even
        images[folder / f"{name}_ODD.mrc"] = result.odd
    star, plot = folder / f"{name}.star", folder / f"{name}_motion.png"
    jobs: list[Callable[[], None]] = [partial(_write_image, path, image, result.pixel_size) for path, image in images.items()]
    jobs.append(partial(write_motion_star, star, metadata, result.field, result.bad_pixels.cpu()))
    summary = summarise_motion(
        result.field.global_track(), metadata.pixel_size, settings.exposure_per_frame, settings.pre_exposure
    )
    jobs.append(partial(_write_plot, plot, result, metadata.pixel_size, name, summary))
    for _ in map_in_order(lambda job: job(), jobs, context.threads):
        pass
    height, width = result.unweighted.shape
    micrograph = Micrograph(
        name=name,
        path=folder / f"{name}.mrc",
        pixel_size=round(result.pixel_size, 6),
        shape=(height, width),
        optics=movie.optics,
    )
    return MotionOutput(
        micrograph=micrograph,
        unweighted=micrograph.model_copy(update={"path": folder / f"{name}_noDW.mrc"}) if weighted else micrograph,
        even=folder / f"{name}_EVN.mrc" if half_sums else None,
        odd=folder / f"{name}_ODD.mrc" if half_sums else None,
        group_spectrum=folder / f"{name}_PS.mrc",
        star=star,
        plot=plot,
        gain_orientation=GainOrientation(rotation=movie.gain.rotation, flip=movie.gain.flip) if movie.gain else None,
        frames=result.field.frames,
        total_motion=summary.total,
        early_motion=summary.early,
        late_motion=summary.late,
    )


def _write_image(path: Path, image: Tensor, pixel_size: float) -> None:
    write_mrc(path, image.cpu().numpy(), pixel_size)


def _write_plot(path: Path, result: MotionResult, pixel_size: float, name: str, summary: MotionSummary) -> None:
    write_png(path, draw_motion(result.field, pixel_size, name, summary))


def _read_gain(movie: Movie, movie_format: Literal["mrc", "tiff", "eer"], shape: tuple[int, int], device: str) -> Tensor | None:
    if movie.gain is None:
        return None
    gain = read_gain(
        movie.gain.path, movie_format=movie_format, shape=shape, rotation=movie.gain.rotation, flip=movie.gain.flip
    )
    if not bool((gain > 0).any()):
        raise BadInput(f"{movie.gain.path}: no value of the gain reference is above 0")
    return _tensor(gain, device)


def _read_defects(movie: Movie, shape: tuple[int, int], device: str) -> Tensor | None:
    if movie.defects is None:
        return None
    if movie.gain is None:
        return _tensor(read_defects(movie.defects, shape), device)
    return _tensor(read_defects(movie.defects, shape, rotation=movie.gain.rotation, flip=movie.gain.flip), device)


def _gain_name(movie: Movie) -> str | None:
    if movie.gain is None:
        return None
    return movie.gain.turned_name or f"movies/{movie.gain.path.name}"


def _tensor(array: NDArray[np.generic], device: str) -> Tensor:
    return torch.from_numpy(array).to(device)
