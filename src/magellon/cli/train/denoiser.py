"""The command `magellon train denoiser HALVES... --out FILE.onnx`."""

from pathlib import Path
from typing import Annotated

import typer

from magellon.cli.console import console, stderr
from magellon.io.files import require_writable


def train_denoiser(
    halves: Annotated[
        list[Path], typer.Argument(metavar="HALVES", help="Half sums NAME_EVN.mrc and NAME_ODD.mrc, or folders of them.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The network to write (.onnx).")],
    network: Annotated[
        Path | None, typer.Option(metavar="FILE", help="To start from.", show_default="the one that comes with Magellon")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="About a third of a second each on one core.")] = 300,
    pixel_size: Annotated[float | None, typer.Option(min=0.1, max=12, help="Å/px.", show_default="as the files say")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Another number changes the last digits.")] = 1,
) -> None:
    """Tune the denoiser to a session: from one half of each exposure it learns to predict the other.

    Every fourth pair is held out and decides whether the result is better; if not, FILE holds the network it started from.
    """
    import torch

    from magellon.algorithms.denoising.tuning import Tuning
    from magellon.backends.denoise.halves import find_halves, train_on_halves

    found = find_halves(halves)
    torch.set_num_threads(threads)
    require_writable(out)
    with stderr.status("reading") as status:

        def show(fraction: float) -> None:
            status.update(f"learning from {len(found)} pairs: {100 * fraction:.0f} %")

        tuned = train_on_halves(found, out, Tuning(steps, seed=seed), start=network, pixel_size=pixel_size, progress=show)
    said = f"Error on the pairs held out of {len(found)}: {tuned.before:.4f} before, {tuned.after:.4f} after."
    use = f"Denoise with it: --network {out}" if tuned.improved else f"No better: {out} is the network it started from."
    console.print(said, markup=False, soft_wrap=True)
    console.print(use, markup=False, soft_wrap=True)
