"""`hole_detection/ptolemy`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from magellon.algorithms.targets.candidates import find_candidates
from magellon.algorithms.targets.gather import Calibration, arrange_targets
from magellon.algorithms.targets.holes import FoundHoles, describe_holes, find_holes, sort_holes
from magellon.algorithms.targets.planes import tame_values
from magellon.algorithms.targets.shape import doubt_holes
from magellon.backends.ptolemy.networks import TargetNetwork, open_target_network
from magellon.backends.ptolemy.original import rank_holes, segment_holes
from magellon.backends.ptolemy.overlay import Overlay
from magellon.backends.ptolemy.pixels import read_pixels
from magellon.backends.ptolemy.results import TargetFiles, write_targets
from magellon.backends.ptolemy.stage import Placement, StageParams
from magellon.contracts import HOLE_DETECTION, Backend, Context, HoleInput, HoleOutput


class HoleParams(StageParams):
    segmenter: Path | None = None
    """The original Ptolemy's segmentation of medium-magnification images as ONNX: it finds the holes instead of our network."""
    classifier: Path | None = None
    """The original Ptolemy's classifier of holes as ONNX: it ranks the holes."""


class HoleDetection(Backend[HoleInput, HoleParams, HoleOutput]):
    """Holes of the film at any size, pitch and angle, with their ice and their lattice, ranked as targets."""

    contract = HOLE_DETECTION
    name = "ptolemy"
    version = 8
    Params = HoleParams

    def run(self, input: HoleInput, params: HoleParams, context: Context) -> HoleOutput:
        pixels = read_pixels(input.image.path, context)
        image = pixels.numpy()
        network = open_target_network("holes", context.threads, context.device)
        context.progress(0.1, "looking")
        holes = _find(pixels, network, params, context)
        if params.classifier is not None:
            context.progress(0.5, "ranking")
            holes = rank_holes(holes, image, params.classifier, context.threads, context.device)
        context.progress(0.8, f"{len(holes)} holes")
        doubt = doubt_holes(pixels, holes)
        if doubt is not None:
            context.log.warning("%s: is this a picture for square_detection?", doubt)
        place = Placement(input.image, image.shape[0], image.shape[1], params)
        files = TargetFiles.name(context.workdir, input.image.name, "holes")
        write_targets(files, "holes", holes, network.facts.kinds, place, lambda row: _describe_hole(holes, row))
        draw_holes(image, holes, doubt).write(files.picture)
        return HoleOutput(
            holes=files.record,
            star=files.star,
            targets=files.targets,
            picture=files.picture,
            count=len(holes),
            good=int(holes.good.sum()),
            lattice_angle=round(holes.lattice.angle, 3) if holes.lattice else None,
            lattice_pitch=round(holes.lattice.pitch, 3) if holes.lattice else None,
        )


def _find(pixels: Tensor, network: TargetNetwork, params: HoleParams, context: Context) -> FoundHoles:
    """By our network, or by the user's segmenter."""
    if params.segmenter is None:
        return find_holes(pixels, network, network.facts, network.calibration, params.threshold, network.model)
    seen = find_candidates(tame_values(pixels), network, network.facts)
    found = segment_holes(pixels.numpy(), params.segmenter, seen, context.threads, context.device)
    targets = sort_holes(pixels, arrange_targets(found, Calibration(), params.threshold), network.model)
    return describe_holes(pixels, targets, network.facts.kinds, Calibration(), params.threshold)


def _describe_hole(holes: FoundHoles, row: int) -> dict[str, Any]:
    return {
        "radius": round(float(holes.radius[row]), 2),
        "ice": round(float(holes.ice[row]), 3),
        "node": [int(holes.index[row, 0]), int(holes.index[row, 1])] if holes.placed[row] else None,
        "weak": bool(holes.weak[row]),
    }


def draw_holes(image: NDArray[np.float32], holes: FoundHoles, doubt: str | None = None) -> Overlay:
    """Circles, lattice and ranks over the image (height, width)."""
    overlay = Overlay(image)
    overlay.add_lattice(holes.lattice, holes.index[holes.placed])
    for row in range(len(holes)):
        overlay.add_circle(
            float(holes.x[row]), float(holes.y[row]), float(holes.radius[row]), holes.kind[row], bool(holes.weak[row])
        )
    places = [(float(x), float(y)) for x, y in zip(holes.x, holes.y, strict=True)]
    overlay.add_ranks(places, 2 * float(holes.radius[0]) if len(holes) else 0.0)
    overlay.add_legend(holes.kind, doubt)
    return overlay
