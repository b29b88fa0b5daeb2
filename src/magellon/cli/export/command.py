"""The command `magellon export SESSION --to relion|cryosparc --out DIR`."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from magellon.cli.acquisition import make_option
from magellon.cli.catalogue import choose_backend
from magellon.cli.console import console, make_progress, stderr
from magellon.cli.export.delivery import WORK_PREFIX, Export, check_target, deliver_export
from magellon.contracts import SessionExportOutput
from magellon.contracts.description import Description
from magellon.errors import BadInput, Cancelled, MagellonError, Transient
from magellon.platform.pipeline.parameters import fill_parameters
from magellon.platform.store.home import Home
from magellon.platform.worker.child import Child
from magellon.platform.worker.requests import Request, TaskFailure

PART = "Which part of it"
CATEGORY = "session_export"
_KINDS: Mapping[str, type[MagellonError]] = {"bad_input": BadInput, "transient": Transient, "cancelled": Cancelled}


def export_session(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Its name in the home.", show_default=False)],
    to: Annotated[str, typer.Option(metavar="relion|cryosparc", help="The program to go on with.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The project's folder; made if needed.", show_default=False)],
    home: Annotated[Path, typer.Option(metavar="DIR", help="Where results are kept.")] = Path("~/magellon"),
    where: Annotated[
        list[str] | None, make_option("Only where the metric is so, as ctf_resolution<=6; may be repeated.", PART, "CONDITION")
    ] = None,
    classes: Annotated[
        str | None, make_option("Only particles of these classes, or of those kept.", PART, "N,N,...|kept", default="all")
    ] = None,
    held: Annotated[bool, typer.Option("--held", help="Held micrographs too.", rich_help_panel=PART)] = False,
    particles_are: Annotated[
        str | None, make_option("For cryosparc: as stored.", PART, "bright|dark", default="bright")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in DIR.")] = False,
) -> None:
    """Make a project of a session for RELION or cryoSPARC: metadata is written, images are linked to and not copied."""
    folder = find_session(home, session)
    description = choose_backend(f"{CATEGORY}/{to}")
    kept = classes == "kept"
    given = {
        "where": where,
        "classes": None if kept else _read_classes(classes),
        "kept": kept or None,
        "held": held or None,
        "particles_are": particles_are,
    }
    params = fill_parameters(description, {name: value for name, value in given.items() if value is not None})
    target = out.expanduser().absolute()
    earlier = check_target(target, folder, overwrite=overwrite)
    output = _export(Export(folder, target, home.expanduser().resolve(), to, params, earlier), description)
    _say_end(session, output, out)


def find_session(home: Path, name: str) -> Path:
    """The folder of a session.

    Raises:
        BadInput: there is none of this name; the message says which there are.
    """
    sessions = Home.at(home).sessions
    folder = sessions / name
    if "/" not in name and name not in ("", ".", "..") and folder.is_dir():
        return folder
    known = sorted(each.name for each in sessions.iterdir() if each.is_dir()) if sessions.is_dir() else []
    raise BadInput(f"{sessions} holds no session {name!r}; there {'are ' + ', '.join(known) if known else 'is none'}")


def _read_classes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise BadInput(f"--classes {text!r}: give class numbers separated by commas, such as 1,4, or kept") from None


def _export(export: Export, description: Description) -> SessionExportOutput:
    made = not export.target.exists()
    try:
        export.target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=export.target) as workdir:
            output = asyncio.run(_compute(export, description, Path(workdir)))
            deliver_export(export, output)
    except OSError as error:
        raise BadInput(f"{export.target} cannot be written: {error}") from error
    finally:
        if made and export.target.is_dir() and not any(export.target.iterdir()):
            export.target.rmdir()
    return output


async def _compute(export: Export, description: Description, workdir: Path) -> SessionExportOutput:
    """Run the backend in a child, as it may load arrays; its output has absolute paths."""
    task = Request(
        category=CATEGORY,
        backend=description.name,
        params=export.params,
        input={"session": str(export.session)},
        workdir=str(workdir / "work"),
        version=description.version,
    )
    with make_progress() as progress:
        bar = progress.add_task(f"export to {description.name}", total=100, note="")

        def listen(kind: str, fraction: float, message: str) -> None:
            if kind == "progress":
                progress.update(bar, completed=round(100 * fraction), note=message)
            else:
                stderr.print(message, markup=False, soft_wrap=True, style="yellow")

        async with Child() as child:
            try:
                done = await child.run(task, listen)
            except TaskFailure as failure:
                kind = _KINDS.get(failure.kind)
                if kind is None:
                    raise MagellonError(f"{failure.message}\n{failure.traceback}") from failure
                raise kind(failure.message) from failure
        progress.update(bar, completed=100)
    output: dict[str, Any] = done.output
    return SessionExportOutput.model_validate(output).map_paths(lambda path: workdir / "work" / path)


def _say_end(session: str, output: SessionExportOutput, out: Path) -> None:
    left_out = [
        f"{count} {what}" for count, what in (
            (output.micrographs_left_out, "micrographs"), (output.particles_left_out, "particles"),
        ) if count
    ]  # fmt: skip
    said = f"{session}: {output.micrographs} micrographs and {output.particles} particles in {out}"
    console.print(f"{said}{'; left out: ' + ' and '.join(left_out) if left_out else ''}", markup=False, soft_wrap=True)
