"""The flags of `magellon run` that belong to the files and the run rather than to the backend."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from magellon.cli.acquisition import (
    collect_flags,
    make_option,
    movie_flags,
    optics_flags,
    read_movie_options,
    read_optics_options,
)
from magellon.cli.device import device_option
from magellon.cli.run.request import Beside, Request
from magellon.contracts.description import Description
from magellon.platform.pipeline.parameters import fill_parameters
from magellon.platform.store.identity import identify_file
from magellon.platform.store.roots import HOME_ROOT, Roots

EARLIER, RUNNING = "Results of earlier steps", "Running"


def _common_options(
    files: Annotated[list[Path], typer.Argument(metavar="FILES")],
    out: Annotated[Path, typer.Option(help="Where outputs and STAR files go; made if needed.", rich_help_panel=RUNNING)],
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Files at once.", show_default="one per core", rich_help_panel=RUNNING)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads per file.", show_default="the cores left over", rich_help_panel=RUNNING)
    ] = None,
    device: Annotated[str, device_option(RUNNING)] = "auto",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show what the step logs, and tracebacks.", rich_help_panel=RUNNING)
    ] = False,
) -> None: ...


def _ctf_option(
    ctf: Annotated[Path | None, make_option("CTF of plain MRC files: a micrographs_ctf.star.", EARLIER, "STAR")] = None,
) -> None: ...


def _picks_options(
    picks: Annotated[
        str | None,
        make_option("Folder or 'pattern' of NAME_autopick.star; found beside the micrographs if left out.", EARLIER, "FILES"),
    ] = None,
    diameter: Annotated[float | None, make_option("Of the particle, where the picks do not say.", EARLIER, "Å")] = None,
) -> None: ...


def _grid_flags(
    pixel_size: Annotated[
        float | None,
        make_option("Of the image as stored, where neither it nor EPU's or SerialEM's file beside it says.", EARLIER, "Å/px"),
    ] = None,
) -> None: ...


def _kept_option(
    kept: Annotated[
        Path | None,
        make_option(
            "Particles that a 2D classification kept; the other picks are doubted. Left out: all picks are right.",
            EARLIER,
            "STAR",
        ),
    ] = None,
) -> None: ...


def _start_option(
    start: Annotated[
        Path | None,
        make_option("Folder of an earlier run, with whose classes this one begins: sooner than anew.", EARLIER, "DIR"),
    ] = None,
) -> None: ...


_GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "square_detection": (_grid_flags,),
    "hole_detection": (_grid_flags,),
    "motion_correction": (optics_flags, movie_flags),
    "ctf_estimation": (optics_flags,),
    "fft": (optics_flags,),
    "micrograph_denoising": (optics_flags,),
    "particle_picking": (optics_flags, _ctf_option),
    "particle_extraction": (optics_flags, _ctf_option, _picks_options),
    "two_d_classification": (_start_option,),
    "picker_training": (optics_flags, _picks_options, _kept_option),
}


_PICTURES = "Pictures of a grid: MRC, TIFF, JPEG or PNG."
_MICROGRAPHS = "Micrographs (MRC), or STAR files that list them."
_FILES = {
    "square_detection": _PICTURES,
    "hole_detection": _PICTURES,
    "motion_correction": "Movies (TIFF, MRC or EER), or folders of them: a session's too.",
    "two_d_classification": "STAR files of particles, all classified together; their stacks are found by the names in them.",
}


def find_flags(category: str) -> list[inspect.Parameter]:
    """The flags of a category that do not come from its backend."""
    files, *others = collect_flags(_common_options, *_GROUPS.get(category, ()))
    argument = typer.Argument(metavar="FILES", help=_FILES.get(category, _MICROGRAPHS))
    return [files.replace(annotation=Annotated[list[Path], argument]), *others]


def make_request(description: Description, values: dict[str, Any], given: dict[str, Any]) -> Request:
    """The request in the words of the contracts; the parameters checked and completed.

    Raises:
        BadInput: a value out of its limits.
    """
    return Request(
        category=description.category,
        backend=description.name,
        version=description.version,
        files=tuple(values["files"]),
        out=values["out"].absolute(),
        params=fill_parameters(description, given),
        identity_params=fill_parameters(description, given, visit_path=_identify),
        ignores=description.ignores,
        optics=read_optics_options(values),
        movie=read_movie_options(values),
        beside=Beside(**{each.name: values.get(each.name) for each in fields(Beside)}),
        jobs=values["jobs"],
        threads=values["threads"],
        device=values["device"],
    )


def _identify(text: str) -> str:
    return identify_file(Path(text), Roots({HOME_ROOT: Path("/")}))
