"""`magellon train picker`: like `magellon run`, for a step whose result is a network."""

import json

import typer

from magellon.cli.catalogue import choose_backend
from magellon.cli.console import console
from magellon.cli.run.command import make_command
from magellon.cli.run.request import Request


def train_picker(context: typer.Context) -> None:
    """Teach the `cnn` picker your particle, from corrected picks or from particles that survived 2D classification."""
    description = choose_backend("picker_training")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=description.summary, no_args_is_help=True)(make_command(description, _say_result))
    app(args=context.args, prog_name="magellon train picker")


def _say_result(request: Request) -> None:
    """How the network was before and is now, and how to use it."""
    found = json.loads((request.out / "picker_training.json").read_text(encoding="utf-8"))["items"]["picker"]
    report = json.loads((request.out / found["report"]).read_text(encoding="utf-8"))
    before, after = report["before"], report["after"]
    network = request.out / found["network"]
    if not report["held_out"]:
        console.print(f"Too little to learn from: {network} is the network it started from.", markup=False, soft_wrap=True)
        return
    console.print(
        f"On {len(report['held_out'])} of {report['micrographs']} micrographs, held out: average precision "
        f"{before['average_precision']:.3f} before, {after['average_precision']:.3f} after; F1 {before['f1']:.3f} before, "
        f"{after['f1']:.3f} after.",
        markup=False,
        soft_wrap=True,
    )
    if found["improved"]:
        console.print(f"Pick with it: --network {network}", markup=False, soft_wrap=True)
    else:
        console.print(f"No better: {network} is the network it started from.", markup=False, soft_wrap=True)
