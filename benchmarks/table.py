"""The rows every benchmark returns, and the table they make together.

Each step has a module here with `run(work: Path, quick: bool) -> list[Row]`: it makes its data in `work` from the simulator
with a fixed seed, runs ours and whatever peer program is on the PATH, and returns one row per program. `quick` asks for the
smallest data that still shows something (well under a minute in all).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """What one program did with one data set."""

    step: str
    """The category: `motion_correction`, ..."""
    program: str
    """`magellon motioncor`, `RELION 3.1.3 own 5x5`, ..."""
    data: str
    """What it was measured on: `10 movies 24x2048x2048, 0.8-2.5 µm, seed 7`."""
    items: int
    """How many movies or micrographs the costs are divided by."""
    seconds: float
    """Wall time per item."""
    cpu_seconds: float
    """Processor time per item, over all threads and child processes."""
    peak_megabytes: float | None = None
    """Largest resident memory of the program, where it could be measured."""
    accuracy: Mapping[str, float] = field(default_factory=dict)
    """Name with unit > value against the truth: `{"field RMS (Å)": 0.38, "global RMS (Å)": 0.29}`."""
    threads: int = 1
    note: str = ""


def format_markdown(rows: Sequence[Row]) -> str:
    """The table, one section per step in the order the steps first appear."""
    steps = list(dict.fromkeys(row.step for row in rows))
    return "\n".join(_format_step(step, [row for row in rows if row.step == step]) for step in steps)


def _format_step(step: str, rows: Sequence[Row]) -> str:
    measures = list(dict.fromkeys(name for row in rows for name in row.accuracy))
    header = ["program", "threads", "time (s)", "CPU (s)", "memory (MB)", *measures, "data"]
    lines = [f"## {step}", "", _join(header), _join(["---"] * len(header))]
    for row in rows:
        memory = "" if row.peak_megabytes is None else f"{row.peak_megabytes:.0f}"
        values = [f"{row.accuracy[name]:.3g}" if name in row.accuracy else "" for name in measures]
        cells = [row.program, str(row.threads), f"{row.seconds:.2f}", f"{row.cpu_seconds:.2f}", memory, *values, row.data]
        lines.append(_join(cells))
    lines += ["", *(f"- {row.program}: {row.note}" for row in rows if row.note), ""]
    return "\n".join(lines)


def _join(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write_table(rows: Sequence[Row], folder: Path, machine: str) -> tuple[Path, Path]:
    """Write `table.md` and `table.json` into `folder`; `machine` says in words where the times were taken."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data = folder / "table.md", folder / "table.json"
    markdown.write_text(
        f"# Benchmarks\n\nPer item, on {machine}. Compare times within one table only.\n\n{format_markdown(rows)}"
    )
    data.write_text(
        json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1, ensure_ascii=False) + "\n"
    )
    return markdown, data
