"""`python -m benchmarks [STEP ...] [--quick] [--out FOLDER]`: run the benchmarks and write one table, Markdown and JSON."""

import argparse
import importlib
import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks.table import Row, format_markdown, write_table

STEPS = (
    "square_detection",
    "hole_detection",
    "motion_correction",
    "ctf_estimation",
    "fft",
    "micrograph_denoising",
    "particle_picking",
    "picking_bound",
    "particle_extraction",
    "two_d_classification",
    "live_import",
    "dispatch",
    "load",
)


def describe_machine() -> str:
    """The processor and how many cores this process may use."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{len(os.sched_getaffinity(0))} cores of {model}"


def run_step(step: str, work: Path, quick: bool) -> list[Row]:
    """The rows of one step, made in a folder of its own."""
    folder = work / step
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = importlib.import_module(f"benchmarks.{step}").run(folder, quick)
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"which of {', '.join(STEPS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="the smallest data that still shows something")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"), help="where table.md and table.json go")
    parser.add_argument("--work", type=Path, help="where the data are made and kept (default: a temporary folder)")
    options = parser.parse_args(argv)
    unknown = [step for step in options.steps if step not in STEPS]
    if unknown:
        parser.error(f"unknown step {unknown[0]}; there are {', '.join(STEPS)}")
    with tempfile.TemporaryDirectory(prefix="magellon-benchmarks-") as temporary:
        work = (options.work or Path(temporary)).absolute()
        rows: list[Row] = []
        for step in options.steps or STEPS:
            print(f"{step} ...", file=sys.stderr, flush=True)
            rows += run_step(step, work, options.quick)
            markdown, data = write_table(rows, options.out, describe_machine())
    print(format_markdown(rows))
    print(f"written: {markdown} and {data}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
