"""Identities of tasks: known for every task of a movie before anything has run, except where a survey comes first."""

import hashlib
from collections.abc import Mapping
from typing import Any

from magellon.platform.pipeline.plan import SESSION, PlannedStep
from magellon.platform.store.identity import hash_canonical, write_canonical


def list_inputs(step: PlannedStep, movie: Mapping[str, Any], upstream: Mapping[str, str]) -> dict[str, Any]:
    """Each input as what identifies it: the movie itself, or (identity of the task that makes it, output name)."""
    return {
        name: dict(movie) if source.step == SESSION else [upstream[source.step], source.field]
        for name, source in step.sources_by_name
    }


def identify_task(step: PlannedStep, inputs: Mapping[str, Any]) -> str:
    """sha256 of what is computed: the canonical JSON of category, backend, its version, all parameters, inputs."""
    before, after = step.identity_frame
    return hashlib.sha256(before + write_canonical(inputs) + after).hexdigest()


def identify_item(
    steps: tuple[PlannedStep, ...], movie: Mapping[str, Any], surveys: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Identities of the steps of one movie, by step.

    Those that depend on a survey whose identity is not among `surveys` are left out.
    """
    known = dict(surveys or {})
    identities: dict[str, str] = {}
    for step in steps:
        if step.needs <= known.keys():
            identities[step.key] = known[step.key] = identify_task(step, list_inputs(step, movie, known))
    return identities


def derive_seed(step: PlannedStep, name: str) -> int:
    """The seed of a task: from what is computed on which movie, not from the movie's time of modification."""
    return int(hash_canonical([step.category, step.backend, step.version, step.identity_params, name])[:12], 16)
