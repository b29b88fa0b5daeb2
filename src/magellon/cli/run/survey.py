"""The particle's diameter, proposed once from some of the micrographs, as the pipeline does, where nobody says it."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from magellon.cli.catalogue import read_descriptions
from magellon.cli.console import stderr
from magellon.cli.run.execution import move_files, plan_step
from magellon.cli.run.inputs import Item, with_inputs_absolute
from magellon.cli.run.request import Request
from magellon.contracts import PickingInput
from magellon.contracts.description import Description
from magellon.contracts.particle_survey import PARTICLE_SURVEY, SurveyInput, SurveyItem, SurveyOutput
from magellon.errors import BadInput
from magellon.platform.pipeline.identity import derive_seed
from magellon.platform.worker.children import Children
from magellon.platform.worker.requests import Request as Task
from magellon.platform.worker.requests import TaskFailure

TRUSTED = 0.5
"""Confidence of a proposed diameter below which it should be given."""


async def survey_items(child: Children, items: Sequence[Item], request: Request) -> list[Item]:
    """The items with the surveyed diameter in their inputs; as they are where it is given or cannot be asked for.

    Raises:
        BadInput: no diameter can be proposed from any of the micrographs.
    """
    backend = _find_backend(items, request)
    if backend is None:
        return list(items)
    inputs = {item.name: item.input for item in items if isinstance(item.input, PickingInput)}
    with tempfile.TemporaryDirectory(prefix=".surveying-", dir=request.out) as workdir:
        found = await _survey_sample(child, inputs, request, backend, Path(workdir))
        move_files(Path(workdir), request.out)
    stderr.print(f"diameter proposed from the data: {found.diameter:.0f} Å (to choose another: --diameter)")
    if found.confidence < TRUSTED:
        said = f"warning: the micrographs show too little to trust this diameter (confidence {found.confidence:.2f}): give it"
        stderr.print(said, markup=False, style="yellow", soft_wrap=True)
    return [
        replace(item, input=item.input.model_copy(update={"diameter": found.diameter}))
        if isinstance(item.input, PickingInput)
        else item
        for item in items
    ]


def _find_backend(items: Sequence[Item], request: Request) -> Description | None:
    """The one that surveys, if there is something to survey."""
    given = request.params.get("diameter") is not None or "diameter" in request.ignores
    if request.category != "particle_picking" or given or not any(isinstance(item.input, PickingInput) for item in items):
        return None
    usable = [each for each in read_descriptions([PARTICLE_SURVEY.category]) if each.error is None]
    return usable[0] if usable else None


async def _survey_sample(
    child: Children, inputs: dict[str, PickingInput], request: Request, backend: Description, workdir: Path
) -> SurveyOutput:
    """Survey the first micrographs by name, passing over any that cannot be read."""
    names = sorted(inputs)
    while names:
        sample = names[: PARTICLE_SURVEY.sample]
        survey = SurveyInput(
            items=tuple(SurveyItem(micrograph=inputs[name].micrograph, ctf=inputs[name].ctf) for name in sample)
        )
        try:
            done = await child.run(_make_task(survey, request, backend, workdir, child.threads))
        except TaskFailure as failure:
            bad = [name for name in sample if str(inputs[name].micrograph.path) in failure.message]
            if not bad:
                raise BadInput(f"no diameter can be proposed ({failure.message}); say it with --diameter") from failure
            names = [name for name in names if name not in bad]
            continue
        return SurveyOutput.model_validate(done.output)
    raise BadInput("no diameter can be proposed, as no micrograph can be read; say it with --diameter")


def _make_task(survey: SurveyInput, request: Request, backend: Description, workdir: Path, threads: int) -> Task:
    step = plan_step(replace(request, category=backend.category, backend=backend.name, version=backend.version, params={}))
    return Task(
        category=backend.category,
        backend=backend.name,
        params={},
        input=with_inputs_absolute(survey),
        workdir=str(workdir),
        version=backend.version,
        device=request.device,
        threads=threads,
        seed=derive_seed(step, ""),
    )
