"""The denoiser tuned to the half sums of a session."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from magellon.algorithms.denoising.tuning import Pair, Tuned, Tuning, prepare_pair, split_pairs, tune_network
from magellon.backends.denoise.weights import DEFAULT_NETWORK, open_denoiser, read_blend, read_denoiser, write_denoiser
from magellon.errors import BadInput
from magellon.io.mrc import read_mrc
from magellon.io.mrc_header import read_mrc_header

FIRST, SECOND = "_EVN.mrc", "_ODD.mrc"
MOST_PAIRS = 100
"""Read and kept in memory; of more, as many evenly over the session."""

Halves = tuple[Path, Path]


def find_halves(files: Sequence[Path]) -> list[Halves]:
    """Pairs of `NAME_EVN.mrc` and `NAME_ODD.mrc` among files and in folders, by name.

    Raises:
        BadInput: none, or one without the other.
    """
    found: dict[Path, Halves] = {}
    for file in files:
        halves = [*file.glob(f"*{FIRST}"), *file.glob(f"*{SECOND}")] if file.is_dir() else [file]
        for half in halves:
            end = next((end for end in (FIRST, SECOND) if half.name.endswith(end)), None)
            if end is None or not half.is_file():
                raise BadInput(f"{half}: not a half sum (NAME{FIRST} or NAME{SECOND}), nor a folder of them")
            stem = half.name.removesuffix(end)
            found[half.with_name(stem)] = (half.with_name(stem + FIRST), half.with_name(stem + SECOND))
    if not found:
        raise BadInput(f"{', '.join(map(str, files)) or 'nothing'}: no half sums (NAME{FIRST}, NAME{SECOND}) in it")
    pairs = [found[key] for key in sorted(found)]
    for half in (half for pair in pairs for half in pair):
        if not half.is_file():
            raise BadInput(f"{half} is missing: both halves are needed")
    return pairs


def read_halves(halves: Halves, pixel_size: float | None = None) -> Pair:
    """Both halves as the network sees them.

    Raises:
        BadInput: damaged, unlike, or without a pixel size; the message names the file.
    """
    size = pixel_size or read_mrc_header(halves[0]).pixel_size
    if size is None:
        raise BadInput(f"{halves[0]}: the header gives no pixel size; say it with --pixel-size")
    first, second = (torch.from_numpy(np.ascontiguousarray(read_mrc(half))) for half in halves)
    try:
        return prepare_pair(first, second, size)
    except BadInput as error:
        raise BadInput(f"{halves[0]}: {error}") from error


def train_on_halves(
    found: Sequence[Halves],
    out: Path,
    tuning: Tuning,
    *,
    start: Path | None = None,
    pixel_size: float | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Tuned:
    """Tune a network to pairs of half sums and write it, or the one it started from where that was no better.

    Raises:
        BadInput: see `read_halves`; fewer than two pairs; `start` is no denoiser.
    """
    split_pairs(len(found))
    network, blend = read_denoiser(start or DEFAULT_NETWORK), read_blend(open_denoiser(start or DEFAULT_NETWORK))
    step = max(1, -(-len(found) // MOST_PAIRS))
    pairs = [read_halves(halves, pixel_size) for halves in found[::step]]
    tuned = tune_network(network, pairs, tuning, progress)
    report = {"held_out_error_before": f"{tuned.before:.5f}", "held_out_error_after": f"{tuned.after:.5f}"}
    write_denoiser(out, tuned.network, blend, report)
    return tuned
