"""The command: what `make demo` runs."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magellon.cli.console import console, make_table
from magellon.cli.process.progress import watch_session
from magellon.cli.process.summary import print_summary
from magellon.cli.simulate import run_simulation
from magellon.errors import BadInput

if TYPE_CHECKING:
    from magellon.cli.demo.scoring import Figure
    from magellon.platform.server.report import Summary

NAME = "demo"


def run_demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where everything goes.")] = Path("demo"),
    movies: Annotated[int, typer.Option(min=1, metavar="N", help="Movies to simulate.")] = 8,
    size: Annotated[int, typer.Option(min=512, metavar="px", help="Side of a frame.")] = 2048,
    frames: Annotated[int, typer.Option(min=4, metavar="N", help="Frames of a movie.")] = 24,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Another seed is another session.")] = 1,
) -> None:
    """Simulate a session, process it to the end, and compare what came out with the truth.

    Run again, it continues where it was. Status 1 if a step failed or a figure is out of its tolerance.
    """
    from magellon.simulation.presets import PRESETS

    folder = folder.absolute()
    session = folder / "session"
    began = time.monotonic()
    if not (session / "session.json").exists():
        console.print(f"Simulating {movies} movies of {frames} frames, {size} x {size} px, with known truth.")
        spec = replace(PRESETS["demo"], movies=movies, size=size, frames=frames, seed=seed, name=NAME)
        run_simulation(session, spec, quiet=True)
    simulated = time.monotonic()
    console.print("Processing them.")
    summary = _process(session, folder / "home")
    processed = time.monotonic()
    print_summary(summary)
    figures = _measure(Path(summary.folder), session)
    print_figures(figures)
    _say_where(Path(summary.folder), session)
    console.print(f"Simulated in {simulated - began:.0f} s, processed in {processed - simulated:.0f} s.")
    good = summary.ok and not summary.failures and all(each.kept for each in figures)
    raise typer.Exit(0 if good else 1)


def _process(session: Path, home: Path) -> "Summary":
    from magellon.platform.process import ProcessOptions, process_session

    with watch_session() as watch:
        return process_session(session, ProcessOptions(home=home), watch)


def _measure(results: Path, session: Path) -> "list[Figure]":
    from magellon.cli.demo.scoring import score_session
    from magellon.simulation.truth import read_truth

    try:
        return score_session(results, read_truth(session))
    except FileNotFoundError as error:
        raise BadInput(f"nothing to compare with the truth: {error}") from error


def print_figures(figures: "list[Figure]") -> None:
    """The table: what was measured, its tolerance, and whether it is kept."""
    table = make_table("against the truth", "measured", "tolerance", "", title="\n", numbers=("measured", "tolerance"))
    for each in figures:
        sign = ">=" if each.at_least else "<="
        verdict = "[green]ok[/]" if each.kept else "[bold red]OUT[/]"
        table.add_row(each.quantity, f"{each.value:.4g} {each.unit}", f"{sign} {each.limit:.4g} {each.unit}", verdict)
    console.print(table)


def _say_where(results: Path, session: Path) -> None:
    pictures = sorted(results.glob("particle_picking/*_picks.png"))
    example = pictures[0].name.removesuffix("_picks.png") if pictures else "NAME"
    places = {
        "movies and truth": f"{session}/movies, {session}/truth",
        "results": f"{results} (a RELION project folder)",
        "particles": f"{results}/particles.star",
        "motion": f"{results}/motion_correction/{example}_motion.png",
        "CTF fit": f"{results}/ctf_estimation/{example}_ctf.png",
        "power spectrum": f"{results}/fft/{example}_fft.png",
        "picks": f"{results}/particle_picking/{example}_picks.png",
        "particle gallery": f"{results}/particle_extraction/{example}_particles.png",
        "class averages": f"{results}/two_d_classification/class_averages.png",
    }
    console.print("\nWhere things lie:", style="bold")
    for what, where in places.items():
        console.print(f"  {what:<17} {where}", markup=False, soft_wrap=True)
