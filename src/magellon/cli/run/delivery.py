"""RELION's STAR files and a record of the results, written beside the outputs of `magellon run`."""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magellon.cli.run.execution import Failed, Finished, Outcome
from magellon.cli.run.inputs import with_inputs_absolute
from magellon.cli.run.particles import link_stacks
from magellon.cli.run.request import Request
from magellon.contracts import Micrograph, Movie, SessionItem, SessionStarInput
from magellon.errors import MagellonError
from magellon.platform.worker.children import Children
from magellon.platform.worker.requests import Request as Task
from magellon.platform.worker.requests import TaskFailure

GATHER = ("session_star", "relion")
_WITHOUT_STAR = {"fft", "micrograph_denoising", "picker_training", "square_detection", "hole_detection"}
"""Categories that a session's STAR files say nothing of."""


def write_record(outcomes: Sequence[Outcome], request: Request) -> Path:
    """`CATEGORY.json`: backend, parameters, and per item its output record or why it failed, and what was warned
    of; paths relative to the folder.

    A run of which nothing came leaves the record of an earlier one, whose results still lie there, and writes
    `CATEGORY_failed.json`.
    """
    items = {
        outcome.item.name: outcome.output.map_paths(lambda path: path.relative_to(request.out)).model_dump(mode="json")
        for outcome in outcomes
        if isinstance(outcome, Finished)
    }
    failed = {
        outcome.name: {"kind": outcome.kind, "reason": outcome.message} for outcome in outcomes if isinstance(outcome, Failed)
    }
    warnings = {
        outcome.item.name: list(outcome.warnings) for outcome in outcomes if isinstance(outcome, Finished) and outcome.warnings
    }
    record = {
        "category": request.category,
        "backend": request.backend,
        "version": request.version,
        "parameters": {key: _name_only(value) for key, value in request.params.items()},
        "items": items,
        "failed": failed,
        **({"warnings": warnings} if warnings else {}),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    usual, other = (request.out / f"{request.category}{ending}.json" for ending in ("", "_failed"))
    if not items and _has_results(usual):
        return _replace(other, text)
    other.unlink(missing_ok=True)
    return _replace(usual, text)


def _has_results(record: Path) -> bool:
    try:
        return bool(json.loads(record.read_text(encoding="utf-8"))["items"])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # none, or no record


def _name_only(value: Any) -> Any:
    """Files hold no absolute paths."""
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value


def _replace(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path


async def write_star_files(child: Children, outcomes: Sequence[Outcome], request: Request) -> list[Path]:
    """Gather the items into RELION's STAR files, by the same backend as the pipeline. The folder is a RELION project.

    Movies and micrographs that lie elsewhere are linked into it, as RELION wants every name below its project folder.

    Raises:
        MagellonError: the files could not be written.
    """
    finished = sorted((each for each in outcomes if isinstance(each, Finished)), key=lambda each: each.item.name)
    if not finished or request.category in _WITHOUT_STAR:
        return []
    if request.category == "two_d_classification":  # It writes RELION's files itself, with the names of its input.
        link_stacks(request.files, request.out)
        return sorted(request.out.glob("*.star"))
    items = tuple(_make_session_item(each, request) for each in finished)
    gather = SessionStarInput(items=items, folders={**dict.fromkeys(_FOLDERLESS, ""), "micrograph": _folder_of(items, request)})
    return await _gather(child, gather, request)


_FOLDERLESS = ("motion_correction", "ctf_estimation", "particle_picking", "particle_extraction")
MICROGRAPHS, MOVIES = "micrographs", "movies"


def _make_session_item(finished: Finished, request: Request) -> SessionItem:
    item = finished.item
    given: dict[str, Any] = {request.category: finished.output}
    if item.movie is not None:
        given["movie"] = _link_movie(item.movie, request.out)
    if item.micrograph is not None:
        given["micrograph"] = _link_micrograph(item.micrograph, request.out)
    return SessionItem(name=item.name, **given)


def _link_movie(movie: Movie, out: Path) -> Movie:
    _link(movie.path, out / MOVIES, f"{movie.name}{movie.path.suffix}")  # the name its motion file gives it
    if movie.gain is not None:
        _link(movie.gain.path, out / MOVIES)
    if movie.defects is not None:
        _link(movie.defects, out / MOVIES)
    return movie


def _link_micrograph(micrograph: Micrograph, out: Path) -> Micrograph:
    if micrograph.path.parent.resolve() == out.resolve():
        return micrograph
    return micrograph.model_copy(update={"path": _link(micrograph.path, out / MICROGRAPHS)})


def _link(path: Path, folder: Path, name: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    link = folder / (name or path.name)
    if link.resolve() != path.resolve():
        temporary = folder / f".{link.name}.{os.getpid()}"
        temporary.symlink_to(path.resolve())
        temporary.replace(link)
    return link


def _folder_of(items: Sequence[SessionItem], request: Request) -> str:
    """Where the micrographs lie, seen from the output folder: in it, or linked below it."""
    given = [item.micrograph for item in items if item.micrograph is not None]
    return MICROGRAPHS if any(each.path.parent != request.out for each in given) else ""


async def _gather(child: Children, gather: SessionStarInput, request: Request) -> list[Path]:
    with tempfile.TemporaryDirectory(prefix=".gathering-", dir=request.out) as workdir:
        try:
            await child.run(Task(*GATHER, params={}, input=with_inputs_absolute(gather), workdir=workdir))
        except TaskFailure as failure:
            raise MagellonError(f"the STAR files could not be written: {failure.message}\n{failure.traceback}") from failure
        names = sorted(path.name for path in Path(workdir).iterdir() if path.name != "summary.json")
        for name in names:
            (Path(workdir) / name).replace(request.out / name)
    return [request.out / name for name in names]
