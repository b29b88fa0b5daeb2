"""RELION's motion metadata: what polishing and people need to know about the motion of one movie.

Shifts in the file are corrections, minus the displacement, in unbinned (rendered) movie pixels; frames count from 1. The
units and signs are pinned by tests against RELION.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from magellon.algorithms.motion.field import MotionField
from magellon.algorithms.motion.polynomial import COEFFICIENTS, fit_polynomial, polynomial_displacement
from magellon.errors import BadInput
from magellon.io.star import StarTable, read_star, write_star

UNUSED = -9999.0


@dataclass(frozen=True)
class MotionMetadata:
    """The general block: the movie as it was read."""

    movie_name: str
    shape: tuple[int, int]
    """(height, width) of the rendered frames."""
    frames: int
    """In the movie, after grouping."""
    pixel_size: float
    """Of the rendered frames, Å."""
    voltage: float
    start_frame: int = 1
    binning: float = 1.0
    exposure_per_frame: float | None = None
    pre_exposure: float = 0.0
    gain_name: str | None = None
    defect_name: str | None = None
    eer_upsampling: int | None = None
    eer_grouping: int | None = None


def write_motion_star(path: Path, metadata: MotionMetadata, field: MotionField, bad_pixels: Tensor) -> None:
    """Write the motion of one movie.

    Args:
        field: of the used frames, the first of which is `start_frame`.
        bad_pixels: (n, 2), (y, x): replaced before alignment.
    """
    shifts = torch.full((metadata.frames, 2), UNUSED, dtype=torch.float64)
    first = metadata.start_frame - 1
    shifts[first : first + field.frames] = -field.track + 0.0
    tables: dict[str, StarTable] = {
        "general": _general(metadata, version=0 if field.local is None else 1),
        "global_shift": StarTable(
            {
                "rlnMicrographFrameNumber": list(range(1, metadata.frames + 1)),
                "rlnMicrographShiftX": shifts[:, 1].tolist(),
                "rlnMicrographShiftY": shifts[:, 0].tolist(),
            }
        ),
    }
    if field.local is not None:
        tables["local_motion_model"] = StarTable(
            {
                "rlnMotionModelCoeffsIdx": list(range(COEFFICIENTS)),
                "rlnMotionModelCoeff": fit_polynomial(field).tolist(),
            }
        )
    if bad_pixels.numel():
        tables["hot_pixels"] = StarTable(
            {"rlnCoordinateX": bad_pixels[:, 1].double().tolist(), "rlnCoordinateY": bad_pixels[:, 0].double().tolist()}
        )
    write_star(path, tables)


def _general(metadata: MotionMetadata, version: int) -> StarTable:
    optional: dict[str, str | int | float | None] = {
        "rlnMicrographGainName": metadata.gain_name,
        "rlnMicrographDefectFile": metadata.defect_name,
        "rlnMicrographBinning": metadata.binning,
        "rlnMicrographOriginalPixelSize": metadata.pixel_size,
        "rlnMicrographDoseRate": metadata.exposure_per_frame,
        "rlnMicrographPreExposure": metadata.pre_exposure,
        "rlnVoltage": metadata.voltage,
        "rlnMicrographStartFrame": metadata.start_frame,
        "rlnEERUpsampling": metadata.eer_upsampling,
        "rlnEERGrouping": metadata.eer_grouping,
        "rlnMotionModelVersion": version,
    }
    values: dict[str, str | int | float | None] = {
        "rlnImageSizeX": metadata.shape[1],
        "rlnImageSizeY": metadata.shape[0],
        "rlnImageSizeZ": metadata.frames,
        "rlnMicrographMovieName": metadata.movie_name,
        **optional,
    }
    return StarTable({label: [value] for label, value in values.items() if value is not None}, loop=False)


@dataclass(frozen=True)
class MotionRecord:
    """A motion STAR file as read."""

    metadata: MotionMetadata
    track: Tensor
    """(used frames, 2), float64: global displacement (y, x) in pixels, zero in the first used frame."""
    coefficients: Tensor | None
    """(36,): RELION's local model, None when there is none."""

    def displacement(self, points_px: Tensor) -> Tensor:
        """(used frames, ..., 2) at points (..., 2) of the movie."""
        points = points_px.to(torch.float64)
        frames = self.track.shape[0]
        track = self.track.reshape(frames, *([1] * (points.ndim - 1)), 2).expand(frames, *points.shape)
        if self.coefficients is None:
            return track.clone()
        return track + polynomial_displacement(self.coefficients, points, frames, self.metadata.shape)


def read_motion_star(path: Path, *, early_binning: bool = False) -> MotionRecord:
    """Read the motion metadata of RELION 3.0 to 5 or of ours.

    Args:
        early_binning: the file is of a RELION run with `--early_binning`, whose coefficients are in *binned* pixels though
            its shifts are not; the file itself does not say so. They are scaled by its binning.

    Raises:
        BadInput: a block or a column is missing, or the number of coefficients is wrong.
    """
    tables = read_star(path)
    for block in ("general", "global_shift"):
        if block not in tables:
            raise BadInput(f"{path}: no block data_{block}; it is no motion metadata")
    general, shifts = tables["general"], tables["global_shift"]
    metadata = _read_general(general)
    corrections = torch.tensor(
        [shifts.floats("rlnMicrographShiftY"), shifts.floats("rlnMicrographShiftX")], dtype=torch.float64
    ).T
    used = corrections[:, 0] > UNUSED + 1
    if not bool(used.any()):
        raise BadInput(f"{path}: no frame was used")
    coefficients = None
    if general.ints("rlnMotionModelVersion", 0)[0] == 1 and "local_motion_model" in tables:
        values = tables["local_motion_model"].floats("rlnMotionModelCoeff")
        if len(values) != COEFFICIENTS:
            raise BadInput(f"{path}: {len(values)} coefficients of local motion, {COEFFICIENTS} are needed")
        coefficients = torch.tensor(values, dtype=torch.float64) * (metadata.binning if early_binning else 1.0)
    return MotionRecord(metadata, -corrections[used] + 0.0, coefficients)


def _read_general(general: StarTable) -> MotionMetadata:
    exposure = general.floats("rlnMicrographDoseRate", 0.0)[0]
    return MotionMetadata(
        movie_name=general.texts("rlnMicrographMovieName")[0],
        shape=(general.ints("rlnImageSizeY")[0], general.ints("rlnImageSizeX")[0]),
        frames=general.ints("rlnImageSizeZ")[0],
        pixel_size=general.floats("rlnMicrographOriginalPixelSize")[0],
        voltage=general.floats("rlnVoltage", 300.0)[0],
        start_frame=general.ints("rlnMicrographStartFrame", 1)[0],
        binning=general.floats("rlnMicrographBinning", 1.0)[0],
        exposure_per_frame=exposure if exposure > 0 else None,
        pre_exposure=general.floats("rlnMicrographPreExposure", 0.0)[0],
        gain_name=general.texts("rlnMicrographGainName")[0] if "rlnMicrographGainName" in general else None,
        defect_name=general.texts("rlnMicrographDefectFile")[0] if "rlnMicrographDefectFile" in general else None,
    )
