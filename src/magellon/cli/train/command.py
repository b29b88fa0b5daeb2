"""The commands `magellon train ...`: networks learn what a session shows."""

import typer

from magellon.cli.train.denoiser import train_denoiser

train_app = typer.Typer(no_args_is_help=True, help="Teach a network what your session shows.")
train_app.command("denoiser")(train_denoiser)
