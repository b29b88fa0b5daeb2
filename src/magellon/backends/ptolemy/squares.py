"""`square_detection/ptolemy`."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.algorithms.targets.shape import doubt_squares
from magellon.algorithms.targets.squares import FoundSquares, find_squares
from magellon.backends.ptolemy.networks import open_target_network
from magellon.backends.ptolemy.original import rank_squares
from magellon.backends.ptolemy.overlay import Overlay
from magellon.backends.ptolemy.pixels import read_pixels
from magellon.backends.ptolemy.results import TargetFiles, write_targets
from magellon.backends.ptolemy.stage import Placement, StageParams
from magellon.contracts import SQUARE_DETECTION, Backend, Context, SquareInput, SquareOutput


class SquareParams(StageParams):
    classifier: Path | None = None
    """The original Ptolemy's classifier of squares as ONNX: it ranks the squares."""


class SquareDetection(Backend[SquareInput, SquareParams, SquareOutput]):
    """Squares of the grid at any size, pitch and angle, sorted into kinds and ranked as targets."""

    contract = SQUARE_DETECTION
    name = "ptolemy"
    version = 7
    Params = SquareParams

    def run(self, input: SquareInput, params: SquareParams, context: Context) -> SquareOutput:
        pixels = read_pixels(input.image.path, context)
        image = pixels.numpy()
        network = open_target_network("squares", context.threads, context.device)
        context.progress(0.1, "looking")
        facts = network.facts
        squares = find_squares(pixels, network, facts, network.calibration, params.threshold, network.model)
        if params.classifier is not None:
            context.progress(0.5, "ranking")
            squares = rank_squares(squares, image, params.classifier, context.threads, context.device)
        context.progress(0.8, f"{len(squares)} squares")
        doubt = doubt_squares(pixels, squares)
        if doubt is not None:
            context.log.warning("%s: is this a picture for hole_detection?", doubt)
        place = Placement(input.image, image.shape[0], image.shape[1], params)
        files = TargetFiles.name(context.workdir, input.image.name, "squares")
        write_targets(files, "squares", squares, facts.kinds, place, lambda row: _describe_square(squares, row))
        draw_squares(image, squares, doubt).write(files.picture)
        return SquareOutput(
            squares=files.record,
            star=files.star,
            targets=files.targets,
            picture=files.picture,
            count=len(squares),
            good=int(squares.good.sum()),
        )


def _describe_square(squares: FoundSquares, row: int) -> dict[str, Any]:
    return {
        "corners": [[round(float(value), 2) for value in corner] for corner in squares.corners[row]],
        "side": round(float(squares.side[row]), 2),
        "angle": round(float(squares.angle[row]), 2),
        "area": round(float(squares.area[row]), 1),
    }


def draw_squares(image: NDArray[np.float32], squares: FoundSquares, doubt: str | None = None) -> Overlay:
    """Outlines and ranks over the image (height, width)."""
    overlay = Overlay(image)
    for row in range(len(squares)):
        overlay.add_outline(squares.corners[row], squares.kind[row])
    places = [(float(x), float(y)) for x, y in zip(squares.x, squares.y, strict=True)]
    overlay.add_ranks(places, float(squares.side[0]) if len(squares) else 0.0)
    overlay.add_legend(squares.kind, doubt)
    return overlay
