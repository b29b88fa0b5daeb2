"""Topaz (GPL-3, run as a separate program where it is installed): its pretrained picker on our micrographs.

Looked for as the program named by MAGELLON_TOPAZ, or `topaz` on the PATH.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost import Cost, measure_command

MODEL = "resnet16_u64"


def find_topaz() -> str | None:
    """The program, if there is one."""
    named = os.environ.get("MAGELLON_TOPAZ")
    return named if named and Path(named).is_file() else shutil.which("topaz")


def pick_with_topaz(
    program: str, micrographs: Sequence[Path], folder: Path, scale: int, radius: int
) -> tuple[dict[str, NDArray[np.float64]], Cost]:
    """Preprocess and extract, as its documentation says: by name of the micrograph (n, 3) x, y and score, and what both cost.

    Args:
        scale: by which micrographs are made smaller first.
        radius: of a particle, in pixels of the smaller micrograph.
    """
    reduced = folder / f"reduced{scale}"
    reduced.mkdir(parents=True, exist_ok=True)
    paths = [str(path) for path in micrographs]
    first = measure_command(
        [program, "preprocess", "--scale", f"{scale}", "--num-workers", "0", "--destdir", f"{reduced}", *paths],
        folder, folder / "preprocess.log",
    )  # fmt: skip
    names = [path.stem for path in micrographs]
    out = folder / f"picks{scale}.txt"
    second = measure_command(
        [program, "extract", "--model", MODEL, "--radius", f"{radius}", "--up-scale", f"{scale}", "--num-workers", "0",
         "--device", "-1", "--output", f"{out}", *(f"{reduced / name}.mrc" for name in names)],
        folder, folder / "extract.log",
    )  # fmt: skip
    peak = max(first.peak_megabytes, second.peak_megabytes)
    cost = Cost(first.seconds + second.seconds, first.cpu_seconds + second.cpu_seconds, peak)
    return read_topaz_picks(out, names), cost


def read_topaz_picks(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Its table: image_name, x_coord, y_coord, score."""
    picks: dict[str, list[list[float]]] = {name: [] for name in names}
    for line in path.read_text().splitlines()[1:]:
        name, *values = line.split("\t")
        picks[Path(name).stem].append([float(value) for value in values[:3]])
    return {name: np.array(rows, dtype=np.float64).reshape(-1, 3) for name, rows in picks.items()}
