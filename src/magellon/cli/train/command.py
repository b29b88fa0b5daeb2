"""The commands `magellon train ...`: networks learn what a session shows."""

import typer

from magellon.cli.run.command import OWN_FLAGS
from magellon.cli.train.denoiser import train_denoiser
from magellon.cli.train.picker import train_picker

train_app = typer.Typer(no_args_is_help=True, help="Teach a network what your session shows.")
train_app.command("denoiser")(train_denoiser)
train_app.command("picker", context_settings=OWN_FLAGS)(train_picker)
