"""`particles.star` of a session: the particles of all micrographs, streamed, as there may be millions."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from magellon.backends.session_star.micrographs import name_micrograph
from magellon.backends.session_star.optics import MicrographOptics, OpticsGroups, ParticleOptics
from magellon.backends.session_star.places import place_file
from magellon.contracts import BadInput, Particles, SessionItem
from magellon.io.files import replacing
from magellon.io.star import format_value, read_star, write_star

_CATEGORY = "particle_extraction"
_NEEDS_QUOTES = re.compile(r"[\s'\"#]")
_BLOCK = "particles"
_REPORT_EVERY = 50
"""Micrographs between two reports: a fraction of a second."""


@dataclass(frozen=True)
class ParticleCount:
    """What `particles.star` holds."""

    written: int
    without_ctf: int
    """Left out because their micrograph has no CTF while others have one: RELION needs it for all or for none."""


def write_particles(
    path: Path,
    items: Sequence[SessionItem],
    optics: Mapping[str, MicrographOptics],
    folders: Mapping[str, str],
    report: Callable[[float, str], None] = lambda fraction, message: None,
) -> ParticleCount:
    """Write the particles of all items, in their order.

    Stacks are named where they lie and not copied. Columns that not all micrographs have are left out.

    Args:
        items: with particle extraction, at least one.
        report: called with the fraction done now and then; may raise to stop.

    Raises:
        BadInput: a particle file is damaged, or does not hold as many particles as announced.
    """
    filled = [item for item in items if _particles(item).count] or list(items[:1])
    labels = {item.name: _read_labels(_particles(item).star) for item in filled}
    fitted = [item for item in filled if "rlnDefocusU" in labels[item.name]]
    chosen = fitted or filled
    groups = OpticsGroups.collect(_group(item, optics) for item in chosen)
    common = [label for label in labels[chosen[0].name] if all(label in labels[item.name] for item in chosen)]
    with replacing(path) as temporary:
        write_star(temporary, {"optics": groups.table()})
        with open(temporary, "a", encoding="utf-8") as file:
            file.write(f"\n# version 30001\n\ndata_{_BLOCK}\n\nloop_\n")
            file.writelines(f"_{label} #{number}\n" for number, label in enumerate(common, start=1))
            for number, item in enumerate(chosen, start=1):
                file.writelines(_format_rows(item, common, groups.numbers[_group(item, optics)], folders))
                if number % _REPORT_EVERY == 0:
                    report(number / len(chosen), f"particles of {number} of {len(chosen)} micrographs")
            file.write("\n")
    written = sum(_particles(item).count for item in chosen)
    return ParticleCount(written, sum(_particles(item).count for item in filled) - written)


def _particles(item: SessionItem) -> Particles:
    assert item.particle_extraction is not None
    return item.particle_extraction.particles


def _group(item: SessionItem, optics: Mapping[str, MicrographOptics]) -> ParticleOptics:
    particles = _particles(item)
    return ParticleOptics(optics[item.name], particles.box, round(particles.pixel_size, 6))


def _read_labels(path: Path) -> list[str]:
    """The columns of the particle table, without reading its rows.

    Raises:
        BadInput: no such table.
    """
    labels: list[str] = []
    inside = False
    with open(path, encoding="utf-8") as file:
        for line in file:
            word = line.split(maxsplit=1)[0] if line.strip() else ""
            if word.startswith("data_"):
                inside = word == f"data_{_BLOCK}"
            elif inside and word.startswith("_"):
                labels.append(word[1:])
            elif labels and word and not word.startswith("#"):
                break
    if not labels:
        raise BadInput(f"{path}: no table data_{_BLOCK}")
    return labels


def _format_rows(item: SessionItem, labels: Sequence[str], group: int, folders: Mapping[str, str]) -> Iterator[str]:
    """The rows of one micrograph as text, with the session's names and optics group."""
    particles = _particles(item)
    table = read_star(particles.star)[_BLOCK]
    if table.rows != particles.count:
        raise BadInput(f"{particles.star}: {table.rows} particles where {particles.count} were announced")
    if not table.rows:
        return iter(())
    columns: list[list[str]] = []
    for label in labels:
        if label == "rlnImageName":
            assert particles.stack is not None
            stack = place_file(folders, _CATEGORY, particles.stack)
            columns.append(_quote([f"{name.partition('@')[0]}@{stack}" for name in table[label]]))
        elif label == "rlnMicrographName":
            columns.append([format_value(name_micrograph(item, folders))] * table.rows)
        elif label == "rlnOpticsGroup":
            columns.append([str(group)] * table.rows)
        else:
            columns.append(_quote(table[label]))
    return (" ".join(row) + "\n" for row in zip(*columns, strict=True))


def _quote(values: list[str]) -> list[str]:
    """Values as they must stand in the file; numbers and plain names, nearly always all of them, cost next to nothing."""
    if all(values) and not _NEEDS_QUOTES.search("".join(values)):
        return values
    return [format_value(value) for value in values]
