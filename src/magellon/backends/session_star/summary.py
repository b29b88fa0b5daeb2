"""`summary.json`: what a session gave, for people and scripts."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from magellon.backends.session_star.particles import ParticleCount
from magellon.contracts import ClassificationOutput, SessionItem
from magellon.io.files import replacing

_STEPS = ("motion_correction", "ctf_estimation", "particle_picking", "particle_extraction")
_OF_CLASSES = {"count", "kept", "classes_used", "resolution"}
_DIGITS = 4


def summarise_session(
    items: Sequence[SessionItem], particles: ParticleCount | None, classified: ClassificationOutput | None = None
) -> dict[str, Any]:
    """Counts, medians over micrographs, who is held back and why, and what classification kept of the particles."""
    return {
        "format": "magellon-summary",
        "version": 1,
        "micrographs": len(items),
        "completed": {step: sum(getattr(item, step) is not None for item in items) for step in _STEPS},
        "held": {item.name: list(item.held) for item in items if item.held},
        "incomplete": _find_incomplete(items),
        "warnings": {
            item.name: list(item.ctf_estimation.warnings)
            for item in items
            if item.ctf_estimation is not None and item.ctf_estimation.warnings
        },
        "picks": sum(item.particle_picking.picks.count for item in items if item.particle_picking),
        "particles": _summarise_particles(items, particles),
        "classification": classified.model_dump(include=_OF_CLASSES) if classified else None,
        "medians": _find_medians(items),
    }


def _find_incomplete(items: Sequence[SessionItem]) -> dict[str, str]:
    """Name > the first step that gave nothing, of those that are not held; steps that gave nothing to anybody count as left
    out of the recipe, unless nothing at all came out."""
    asked = [step for step in _STEPS if any(getattr(item, step) is not None for item in items)] or list(_STEPS[:1])
    first_missing = {
        item.name: next((step for step in asked if getattr(item, step) is None), None) for item in items if not item.held
    }
    return {name: step for name, step in first_missing.items() if step is not None}


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _summarise_particles(items: Sequence[SessionItem], particles: ParticleCount | None) -> dict[str, Any]:
    results = [item.particle_extraction for item in items if item.particle_extraction]
    return {
        "count": particles.written if particles else 0,
        "without_ctf": particles.without_ctf if particles else 0,
        "left_out_at_edge": sum(result.left_out_at_edge for result in results),
        "padded_at_edge": sum(result.padded_at_edge for result in results),
        "duplicates_removed": sum(result.duplicates_removed for result in results),
        "boxes": sorted({(result.particles.box, round(result.particles.pixel_size, 6)) for result in results}),
    }


def _find_medians(items: Sequence[SessionItem]) -> dict[str, float | None]:
    """Medians over the micrographs that have the value; None when none has."""
    motions = [item.motion_correction for item in items if item.motion_correction]
    fits = [item.ctf_estimation for item in items if item.ctf_estimation]
    values: dict[str, list[float]] = {
        "total_motion": [motion.total_motion for motion in motions],
        "early_motion": [motion.early_motion for motion in motions],
        "late_motion": [motion.late_motion for motion in motions],
        "defocus": [fit.ctf.mean_defocus for fit in fits],
        "astigmatism": [fit.ctf.astigmatism for fit in fits],
        "ctf_resolution": [fit.ctf.resolution for fit in fits],
        "ctf_score": [fit.ctf.score for fit in fits],
        "picks_per_micrograph": [item.particle_picking.picks.count for item in items if item.particle_picking],
        "particles_per_micrograph": [item.particle_extraction.particles.count for item in items if item.particle_extraction],
    }
    return {name: round(float(median(known)), _DIGITS) if known else None for name, known in values.items()}
