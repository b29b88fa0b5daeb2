"""`square_detection/ptolemy`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from magellon.algorithms.targets.squares import FoundSquares, find_squares
from magellon.backends.ptolemy.networks import open_target_network
from magellon.backends.ptolemy.original import rank_squares
from magellon.backends.ptolemy.overlay import Overlay
from magellon.backends.ptolemy.results import describe_lattice, describe_picture, write_json, write_target_star
from magellon.backends.ptolemy.stage import Placement, StageParams
from magellon.contracts import SQUARE_DETECTION, Backend, Context, SquareInput, SquareOutput
from magellon.io.grid_image import read_grid_image
from magellon.io.serialem_navigator import write_navigator


class SquareParams(StageParams):
    classifier: Path | None = None
    """The original Ptolemy's classifier of squares as ONNX: it ranks the squares."""


class SquareDetection(Backend[SquareInput, SquareParams, SquareOutput]):
    """Squares of the grid at any size, pitch and angle, sorted into kinds and ranked as targets."""

    contract = SQUARE_DETECTION
    name = "ptolemy"
    version = 1
    Params = SquareParams

    def run(self, input: SquareInput, params: SquareParams, context: Context) -> SquareOutput:
        image = read_grid_image(input.image.path)
        network = open_target_network("squares", context.threads, context.device)
        context.progress(0.1, "looking")
        pixels, facts = torch.from_numpy(image), network.facts
        squares = find_squares(pixels, network, facts, network.calibration, params.threshold, network.model)
        if params.classifier is not None:
            context.progress(0.5, "ranking")
            squares = rank_squares(squares, image, params.classifier, context.threads, context.device)
        context.progress(0.8, f"{len(squares)} squares")
        place = Placement(input.image, image.shape[0], image.shape[1], params)
        paths = [context.workdir / f"{input.image.name}_squares.{end}" for end in ("json", "star", "nav", "png")]
        record = {
            **describe_picture(place),
            "lattice": describe_lattice(squares.lattice, input.image.pixel_size),
            "squares": [_describe_square(squares, row, place, network.facts.kinds) for row in range(len(squares))],
        }
        write_json(paths[0], record)
        numbers = [network.facts.kinds.index(kind) + 1 for kind in squares.kind]
        write_target_star(paths[1], squares.x, squares.y, squares.score, numbers)
        good = [row for row in range(len(squares)) if squares.good[row]][: params.most]
        points = [
            place.make_point(rank, float(squares.x[row]), float(squares.y[row]), f"score {squares.score[row]:.2f}")
            for rank, row in enumerate(good, 1)
        ]
        write_navigator(paths[2], points, params.map_id)
        draw_squares(image, squares).write(paths[3])
        return SquareOutput(
            squares=paths[0],
            star=paths[1],
            targets=paths[2],
            picture=paths[3],
            count=len(squares),
            good=int(squares.good.sum()),
        )


def _describe_square(squares: FoundSquares, row: int, place: Placement, kinds: tuple[str, ...]) -> dict[str, Any]:
    x, y = float(squares.x[row]), float(squares.y[row])
    stage = place.locate(x, y)
    return {
        "rank": row + 1,
        "x": round(x, 2),
        "y": round(y, 2),
        "corners": [[round(float(value), 2) for value in corner] for corner in squares.corners[row]],
        "side": round(float(squares.side[row]), 2),
        "angle": round(float(squares.angle[row]), 2),
        "area": round(float(squares.area[row]), 1),
        "brightness": round(float(squares.brightness[row]), 3),
        "score": round(float(squares.score[row]), 4),
        "kind": squares.kind[row],
        "kinds": {kind: round(float(share), 3) for kind, share in zip(kinds, squares.kinds[row], strict=True)},
        "good": bool(squares.good[row]),
        **({"stage": [round(value, 4) for value in stage]} if stage else {}),
    }


def draw_squares(image: NDArray[np.float32], squares: FoundSquares) -> Overlay:
    """Outlines and ranks over the image (height, width)."""
    overlay = Overlay(image)
    for row in range(len(squares)):
        overlay.add_outline(squares.corners[row], squares.kind[row])
    places = [(float(x), float(y)) for x, y in zip(squares.x, squares.y, strict=True)]
    overlay.add_ranks(places, float(squares.side[0]) if len(squares) else 0.0)
    overlay.add_legend(squares.kind)
    return overlay
