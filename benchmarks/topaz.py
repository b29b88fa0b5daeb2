"""Topaz (GPL-3, run as a separate program where it is installed): its pretrained picker on our micrographs.

Looked for as the program named by MAGELLON_TOPAZ, in the plugin that `magellon plugin install topaz` makes, then on the PATH.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import magellon
from benchmarks.cost import Cost, measure_command
from magellon.platform.store.environments import list_environments, locate_python

MODEL = "resnet16_u64"


def find_topaz() -> list[str] | None:
    """The beginning of a command that runs it, on one thread; None where it is not installed."""
    variables = ["env", "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1"]
    named = os.environ.get("MAGELLON_TOPAZ")
    if named and Path(named).is_file():
        return [*variables, named]
    plugins = Path(os.environ.get("MAGELLON_PLUGINS", "~/magellon/plugins")).expanduser()
    for environment in list_environments(plugins):
        if environment.name == "magellon-topaz":
            program = locate_python(plugins, environment).with_name("topaz")
            stand_in = Path(magellon.__file__).parent / "bundled" / "topaz" / "magellon_topaz" / "stand_in"
            return [*variables, f"PYTHONPATH={stand_in}", str(program)]
    found = shutil.which("topaz")
    return [*variables, found] if found else None


def pick_with_topaz(
    topaz: Sequence[str], micrographs: Sequence[Path], folder: Path, scale: int, radius: int
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
        [*topaz, "preprocess", "--scale", f"{scale}", "--num-workers", "0", "--destdir", f"{reduced}", *paths],
        folder, folder / "preprocess.log",
    )  # fmt: skip
    names = [path.stem for path in micrographs]
    out = folder / f"picks{scale}.txt"
    second = measure_command(
        [*topaz, "extract", "--model", MODEL, "--radius", f"{radius}", "--up-scale", f"{scale}", "--num-workers", "0",
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
