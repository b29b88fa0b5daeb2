"""The flags of `magellon run` that belong to the files and the run rather than to the backend."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from magellon.cli.run.request import Beside, MovieOptions, OpticsOptions, Request
from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.pipeline.parameters import fill_parameters
from magellon.platform.store.identity import identify_file
from magellon.platform.store.roots import HOME_ROOT, Roots

OPTICS, MOVIES, EARLIER, RUNNING = "Optics, where the files do not say", "Movies", "Results of earlier steps", "Running"


def _option(text: str, panel: str, metavar: str | None = None, *flags: str) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=panel, metavar=metavar, show_default=False)


def _common_options(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES...", help="Movies, micrographs (MRC), or STAR files that list them.")
    ],
    out: Annotated[Path, typer.Option(help="Where outputs and STAR files go; made if needed.", rich_help_panel=RUNNING)],
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Files at once.", show_default="one per core", rich_help_panel=RUNNING)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads per file.", show_default="the cores left over", rich_help_panel=RUNNING)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=RUNNING)] = "auto",
    verbose: Annotated[bool, typer.Option("--verbose", help="Show tracebacks of failures.", rich_help_panel=RUNNING)] = False,
) -> None: ...


def _optics_options(
    pixel_size: Annotated[float | None, _option("Of the image as stored.", OPTICS, "Å/px")] = None,
    voltage: Annotated[float | None, _option("Of the microscope (300 if nothing says otherwise).", OPTICS, "kV")] = None,
    cs: Annotated[
        float | None,
        _option("Spherical aberration (2.7 if nothing says otherwise).", OPTICS, "mm", "--cs", "--spherical-aberration"),
    ] = None,
    amplitude_contrast: Annotated[float | None, _option("0..1 (0.1 if nothing says otherwise).", OPTICS, "X")] = None,
    optics_group: Annotated[str | None, _option("Name of the optics group.", OPTICS, "TEXT")] = None,
) -> None: ...


def _movie_options(
    exposure: Annotated[
        float | None,
        _option("Per frame as stored; left out, no dose weighting.", MOVIES, "e/Å²", "--exposure", "--exposure-per-frame"),
    ] = None,
    pre_exposure: Annotated[float | None, _option("Before the first frame (0 if left out).", MOVIES, "e/Å²")] = None,
    gain: Annotated[Path | None, _option("Gain reference.", MOVIES, "FILE")] = None,
    gain_rotation: Annotated[
        int | None, _option("Turn the gain counter-clockwise, before the flip: 0, 90, 180 or 270.", MOVIES, "°")
    ] = None,
    gain_flip: Annotated[str | None, _option("Then mirror it: none, x (left-right) or y (top-bottom).", MOVIES, "AXIS")] = None,
    defects: Annotated[Path | None, _option("Defect list or map of the detector.", MOVIES, "FILE")] = None,
) -> None: ...


def _ctf_option(
    ctf: Annotated[Path | None, _option("CTF of plain MRC files: a micrographs_ctf.star.", EARLIER, "STAR")] = None,
) -> None: ...


def _picks_options(
    picks: Annotated[
        str | None,
        _option("Folder or 'pattern' of NAME_autopick.star; found beside the micrographs if left out.", EARLIER, "FILES"),
    ] = None,
    diameter: Annotated[float | None, _option("Of the particle, where the picks do not say.", EARLIER, "Å")] = None,
) -> None: ...


_GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "motion_correction": (_optics_options, _movie_options),
    "ctf_estimation": (_optics_options,),
    "fft": (_optics_options,),
    "particle_picking": (_optics_options, _ctf_option),
    "particle_extraction": (_optics_options, _ctf_option, _picks_options),
}


def find_flags(category: str) -> list[inspect.Parameter]:
    """The flags of a category that do not come from its backend."""
    functions = (_common_options, *_GROUPS.get(category, ()))
    found = [each for function in functions for each in inspect.signature(function).parameters.values()]
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in found]


def make_request(description: Description, values: dict[str, Any], given: dict[str, Any]) -> Request:
    """The request in the words of the contracts; the parameters checked and completed.

    Raises:
        BadInput: a value out of its limits.
    """
    get = values.get
    flip = get("gain_flip")
    rotation = get("gain_rotation")
    if flip not in (None, "none", "x", "y"):
        raise BadInput(f"--gain-flip is none, x or y, not {flip}")
    if rotation not in (None, 0, 90, 180, 270):
        raise BadInput(f"--gain-rotation is 0, 90, 180 or 270, not {rotation}")
    return Request(
        category=description.category,
        backend=description.name,
        version=description.version,
        files=tuple(values["files"]),
        out=values["out"].absolute(),
        params=fill_parameters(description, given),
        identity_params=fill_parameters(description, given, visit_path=_identify),
        optics=OpticsOptions(get("pixel_size"), get("voltage"), get("cs"), get("amplitude_contrast"), get("optics_group")),
        movie=MovieOptions(get("exposure"), get("pre_exposure"), get("gain"), rotation, flip, get("defects")),
        beside=Beside(get("ctf"), get("picks"), get("diameter")),
        jobs=values["jobs"],
        threads=values["threads"],
        device=values["device"],
    )


def _identify(text: str) -> str:
    return identify_file(Path(text), Roots({HOME_ROOT: Path("/")}))
