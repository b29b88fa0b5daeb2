"""What a 2D classification holds in memory as its particles grow in number.

A few hundred boxes of noise are named again and again by a STAR file, as if they came from other micrographs: memory depends on
how many rows there are, not on what they show. Two rounds, both of which look at and average all particles.
"""

import sys
from pathlib import Path

import numpy as np

from benchmarks.class_runs import DIAMETER, STEP
from benchmarks.cost import measure_command
from benchmarks.table import Row
from magellon.io.mrc import write_mrc
from magellon.io.star import StarTable, write_star

BOX, PIXEL_SIZE = 128, 2.0
COUNTS = (10_000, 30_000, 100_000)
CLASSES, ROUNDS = 10, 2
_BOXES, _PER_MICROGRAPH = 250, 100


def measure_memory(folder: Path, counts: tuple[int, ...] = COUNTS) -> list[Row]:
    """A row for each number of particles."""
    folder.mkdir(parents=True, exist_ok=True)
    boxes = np.random.default_rng(1).standard_normal((_BOXES, BOX, BOX), dtype=np.float32)
    write_mrc(folder / "particles.mrcs", boxes, PIXEL_SIZE)
    rows = []
    for count in counts:
        _write_table(folder / f"{count}.star", count)
        argv = [sys.executable, "-m", "magellon", "run", f"{STEP}/can-classifier", f"{count}.star", "--out", f"out{count}"]
        argv += ["--classes", str(CLASSES), "--diameter", str(DIAMETER), "--rounds", str(ROUNDS)]
        cost = measure_command(argv, folder, folder / f"{count}.log")
        data = f"memory: {count} particles of {BOX} px, {ROUNDS} rounds, K={CLASSES}"
        rows.append(Row(STEP, "magellon can-classifier", data, 1, cost.seconds, cost.cpu_seconds, cost.peak_megabytes, {}))
    return rows


def _write_table(path: Path, count: int) -> None:
    optics = StarTable(
        {
            "rlnOpticsGroup": [1], "rlnOpticsGroupName": ["opticsGroup1"], "rlnVoltage": [300.0],
            "rlnSphericalAberration": [2.7], "rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [PIXEL_SIZE],
            "rlnMicrographPixelSize": [PIXEL_SIZE], "rlnImageSize": [BOX], "rlnImageDimensionality": [2],
        }
    )  # fmt: skip
    number = np.arange(count)
    particles = StarTable(
        {
            "rlnImageName": [f"{1 + row % _BOXES:06d}@particles.mrcs" for row in range(count)],
            "rlnMicrographName": [f"{row // _PER_MICROGRAPH:05d}.mrc" for row in range(count)],
            "rlnCoordinateX": (200.0 * (number % 10)).tolist(),
            "rlnCoordinateY": (200.0 * (number // 10 % 10)).tolist(),
            "rlnDefocusU": (10000.0 + number % 9000).tolist(),
            "rlnDefocusV": (10000.0 + number % 9000).tolist(),
            "rlnDefocusAngle": [0.0] * count,
            "rlnOpticsGroup": [1] * count,
        }
    )
    write_star(path, {"optics": optics, "particles": particles})
