"""The command `magellon process FOLDER`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from magellon.cli.console import say_error
from magellon.cli.process.progress import watch_session
from magellon.cli.process.summary import print_summary
from magellon.errors import BadInput, Cancelled

INTERRUPTED = 130
HOME, OPTICS, RUNNING = "Home", "How the movies were taken, where session.json does not say", "Running"


def _flag(text: str, panel: str, metavar: str | None = None, *names: str, default: str | bool = False) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, show_default=default)


def process_folder(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A session: session.json, or just movies.", show_default=False)
    ],
    home: Annotated[Path, typer.Option(metavar="DIR", help="Where results are kept.", rich_help_panel=HOME)] = Path(
        "~/magellon"
    ),
    state: Annotated[Path | None, _flag("Ledger and bus; on a local disk.", HOME, "DIR", default="HOME/state")] = None,
    recipe: Annotated[Path | None, _flag("What to do, as TOML.", HOME, "FILE", default="all steps")] = None,
    settings: Annotated[
        list[str] | None, _flag("Change the recipe; may be repeated.", HOME, "step.param=value", "--set")
    ] = None,
    workers: Annotated[int | None, _flag("Tasks at a time.", RUNNING, "N", default="one per core")] = None,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads per task.", rich_help_panel=RUNNING)] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=RUNNING)] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary for programs.", rich_help_panel=RUNNING)] = False,
    pixel_size: Annotated[float | None, _flag("Of the movies as stored.", OPTICS, "Å/px")] = None,
    voltage: Annotated[float | None, _flag("Of the microscope.", OPTICS, "kV", default="300")] = None,
    cs: Annotated[
        float | None, _flag("Spherical aberration.", OPTICS, "mm", "--cs", "--spherical-aberration", default="2.7")
    ] = None,
    amplitude_contrast: Annotated[float | None, _flag("0..1.", OPTICS, "X", default="0.1")] = None,
    exposure: Annotated[
        float | None, _flag("Per frame; left out, no dose weighting.", OPTICS, "e/Å²", "--exposure", "--exposure-per-frame")
    ] = None,
    pre_exposure: Annotated[float | None, _flag("Before the first frame.", OPTICS, "e/Å²", default="0")] = None,
    gain: Annotated[Path | None, _flag("Gain reference.", OPTICS, "FILE")] = None,
    gain_rotation: Annotated[int | None, _flag("Counter-clockwise: 0, 90, 180, 270.", OPTICS, "°", default="0")] = None,
    gain_flip: Annotated[str | None, _flag("After the rotation: none, x, y.", OPTICS, "AXIS", default="none")] = None,
    defects: Annotated[Path | None, _flag("Defect list or map.", OPTICS, "FILE")] = None,
) -> None:
    """Process a session to its end. Interrupted and started again, it continues and repeats nothing that is finished.

    A movie that fails is reported with its reason and stops no other; the status is not 0 only if the session as a whole could
    not be processed.
    """
    from magellon.platform.process import ProcessOptions, process_session

    acquisition = _make_acquisition(
        pixel_size=pixel_size,
        voltage=voltage,
        spherical_aberration=cs,
        amplitude_contrast=amplitude_contrast,
        exposure_per_frame=exposure,
        pre_exposure=pre_exposure,
        gain=str(gain.expanduser().absolute()) if gain else None,
        gain_rotation=gain_rotation,
        gain_flip=gain_flip,
        defects=str(defects.expanduser().absolute()) if defects else None,
    )
    options = ProcessOptions(
        home=home,
        state=state,
        recipe=recipe,
        settings=tuple(settings or ()),
        workers=workers,
        threads=threads,
        device=device,
        acquisition=acquisition,
    )
    try:
        with watch_session() as watch:
            summary = process_session(folder, options, watch)
    except Cancelled as error:
        say_error(str(error))
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(summary.model_dump_json(indent=1))  # noqa: T201
    else:
        print_summary(summary)
    raise typer.Exit(0 if summary.ok else 1)


def _make_acquisition(**given: Any) -> Any:
    """What the flags say, or None when they say nothing.

    Raises:
        BadInput: a value out of its limits.
    """
    from pydantic import ValidationError

    from magellon.platform.sessions.definition import Acquisition

    said = {key: value for key, value in given.items() if value is not None}
    try:
        return Acquisition.model_validate(said) if said else None
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        raise BadInput(f"{flag} = {first['input']!r}: {first['msg']}") from error
