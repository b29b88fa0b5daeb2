"""The network learns a session's particle."""

import json
from pathlib import Path
from typing import Annotated, Any

from PIL import Image, ImageDraw
from pydantic import Field

from magellon.algorithms.picking.evaluation import PickingScore
from magellon.algorithms.picking.teaching import Taught, TeachingSettings, TooLittle, keep_network, teach
from magellon.backends.cnn_picker.backend import SHIPPED, open_picking_network
from magellon.backends.cnn_picker.files import read_picking_net, write_picking_net
from magellon.backends.cnn_picker.lessons import make_lesson, read_kept
from magellon.contracts import (
    PICKER_TRAINING,
    Backend,
    Context,
    Params,
    PickerTrainingInput,
    PickerTrainingOutput,
)
from magellon.units import Angstrom

SIDE, EDGE = 360, 40


class CnnTrainingParams(Params):
    diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    """Longest extent of the particle; left out, that of the picks."""
    network: Path | None = None
    """ONNX file of the network to start from; left out, Magellon's own."""
    steps: Annotated[int, Field(ge=10, le=20000)] = 200
    """How long to train, in steps of four parts of micrographs."""
    rate: Annotated[float, Field(gt=0, le=0.01)] = 0.0005
    """Learning rate."""
    held_out: Annotated[float, Field(ge=0.05, le=0.5)] = 0.25
    """Part of the micrographs that is not trained on, but tells whether training helped."""
    micrographs: Annotated[int, Field(ge=2, le=1000)] = 60
    """Most micrographs to use, spread evenly over those given."""


class CnnTraining(Backend[PickerTrainingInput, CnnTrainingParams, PickerTrainingOutput]):
    """Teaches the picker's network with corrected picks or classified particles; keeps the old one where that is better."""

    contract, name, Params = PICKER_TRAINING, "cnn", CnnTrainingParams
    version = 4

    def run(self, input: PickerTrainingInput, params: CnnTrainingParams, context: Context) -> PickerTrainingOutput:
        path = params.network or input.start or SHIPPED
        start = read_picking_net(path)
        network = open_picking_network(path, context)
        items = _spread(input.items, params.micrographs)
        kept = read_kept(input.kept, items[0].micrograph.pixel_size) if input.kept is not None else None
        lessons = []
        for number, item in enumerate(items):
            context.progress(0.4 * number / len(items), item.micrograph.name)
            lessons.append(make_lesson(item, kept, network, params.diameter, "cpu"))
        settings = TeachingSettings(steps=params.steps, rate=params.rate, held_out=params.held_out)
        try:
            taught = teach(start, lessons, settings, context.seed, lambda part, said: context.progress(0.4 + 0.6 * part, said))
        except TooLittle as error:
            if kept is None:  # a person's picks, who will want to add some
                raise
            context.log.warning("the classification kept %s; the network it started from is written", error)
            taught = keep_network(start)
        else:
            _say(taught, context)
        target = context.workdir / "picker.onnx"
        write_picking_net(target, taught.net, taught.calibration)
        report = _write_report(context.workdir / "picker_training_report.json", taught, len(lessons))
        picture = context.workdir / "picker_training.png"
        draw_curves(taught.before, taught.after).save(picture, format="PNG")
        return PickerTrainingOutput(
            network=target,
            improved=taught.improved,
            before=round(taught.before.average_precision, 4),
            after=round(taught.after.average_precision, 4),
            report=report,
            picture=picture,
        )


def _spread(items: tuple[Any, ...], most: int) -> list[Any]:
    """At most so many of the items, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[index * len(items) // most] for index in range(most)]


def _say(taught: Taught, context: Context) -> None:
    before, after = taught.before, taught.after
    said = (
        f"on {len(taught.held_out)} micrographs held out: average precision {before.average_precision:.3f} before, "
        f"{after.average_precision:.3f} after; F1 {before.f1:.3f} before, {after.f1:.3f} after"
    )
    if taught.improved:
        context.log.info("%s: the trained network is written", said)
    else:
        context.log.warning("%s: no better, so the network it started from is written", said)


def _write_report(path: Path, taught: Taught, micrographs: int) -> Path:
    report = {
        "improved": taught.improved,
        "micrographs": micrographs,
        "held_out": list(taught.held_out),
        "before": _describe(taught.before),
        "after": _describe(taught.after),
    }
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _describe(score: PickingScore) -> dict[str, float]:
    names = ("average_precision", "precision", "recall", "f1")
    return {name: round(float(getattr(score, name)), 4) for name in names}


def draw_curves(before: PickingScore, after: PickingScore) -> Image.Image:
    """Precision (up) against recall (right), before in grey and after in blue."""
    picture = Image.new("RGB", (SIDE + 2 * EDGE, SIDE + 2 * EDGE), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((EDGE, EDGE, EDGE + SIDE, EDGE + SIDE), outline="black")
    for score, colour in ((before, (150, 150, 150)), (after, (30, 90, 200))):
        places = [(EDGE + SIDE * recall, EDGE + SIDE * (1 - precision)) for recall, precision in score.curve]
        if len(places) > 1:
            draw.line(places, fill=colour, width=2)
        draw.ellipse(_dot(score), outline=colour, width=2)
    draw.text((EDGE, 12), f"average precision {before.average_precision:.3f} > {after.average_precision:.3f}", fill="black")
    draw.text((EDGE + SIDE // 2 - 20, EDGE + SIDE + 14), "recall", fill="black")
    draw.text((4, EDGE + 4), "prec.", fill="black")
    return picture


def _dot(score: PickingScore) -> tuple[float, float, float, float]:
    x, y = EDGE + SIDE * score.recall, EDGE + SIDE * (1 - score.precision)
    return x - 4, y - 4, x + 4, y + 4
