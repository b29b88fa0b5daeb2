"""`magellon simulate OUT`: a whole session with known truth. Its flags are the fields of `SessionSpec`."""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from magellon.cli.console import console, make_progress
from magellon.cli.dataclass_schema import make_params_model
from magellon.cli.run.options import Parameter, collect_params, make_signature_parameter, read_parameters
from magellon.contracts import Params
from magellon.errors import BadInput

if TYPE_CHECKING:
    from magellon.simulation.spec import SessionSpec

GROUPS = ("optics", "specimen", "motion", "camera")
RANGE_NOTE = " One value, or lowest,highest."


def simulate(context: typer.Context) -> None:
    """Simulate a session with known motion, CTF, coordinates and poses."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help="Simulate a session with known motion, CTF, coordinates and poses.", no_args_is_help=True)(make_command())
    app(args=context.args, prog_name="magellon simulate")


def _out(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the session; made if needed.", show_default=False)],
    preset: Annotated[
        str,
        typer.Option(
            help="What the other options change single values of: typical, demo, reference (strong drift, clean ice), "
            "hard (everything at its worst, up to 1 % anisotropic magnification and 2 % error of the pixel size) or tiny. "
            "The defaults shown are those of typical.",
            rich_help_panel="Session",
        ),
    ] = "typical",
) -> None: ...


def make_command() -> Any:
    """A function whose signature is OUT and one option per field of the specification and of its ranges."""
    models = dict(_make_models())
    parameters = {group: read_parameters(model.model_json_schema()) for group, model in models.items()}

    def command(**values: Any) -> None:
        given = {group: collect_params(each, values) for group, each in parameters.items()}
        run_simulation(values["out"].absolute(), make_spec(find_preset(values["preset"]), models, given))

    signature = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in inspect.signature(_out).parameters.values()]
    for group, each in parameters.items():
        panel = "Session" if group == "" else f"Ranges of the {group}"
        signature += [make_signature_parameter(_explain(parameter), parameter.flag, panel) for parameter in each]
    command.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    return command


def _make_models() -> Iterator[tuple[str, type[Params]]]:
    """The specification's own fields under "", and each group of ranges under its name."""
    from magellon.simulation.spec import SessionSpec

    yield "", make_params_model(SessionSpec, skip=frozenset(GROUPS))
    defaults = SessionSpec()
    for group in GROUPS:
        yield group, make_params_model(type(getattr(defaults, group)))


def _explain(parameter: Parameter) -> Parameter:
    if parameter.kind != "array":
        return parameter
    return dataclasses.replace(parameter, description=parameter.description + RANGE_NOTE)


def find_preset(name: str) -> "SessionSpec":
    """Raises BadInput for an unknown name."""
    from magellon.simulation.presets import PRESETS

    if name not in PRESETS:
        raise BadInput(f"--preset = {name!r}: not one of {', '.join(PRESETS)}")
    return PRESETS[name]


def make_spec(base: "SessionSpec", models: dict[str, type[Params]], given: dict[str, dict[str, Any]]) -> "SessionSpec":
    """The base with what was given in place of its values.

    Raises:
        BadInput: a value of the wrong kind or out of its limits.
    """
    checked = {group: _check(models[group], values) for group, values in given.items()}
    groups = {group: dataclasses.replace(getattr(base, group), **checked[group]) for group in GROUPS}
    return dataclasses.replace(base, **checked[""], **groups)


def _check(model: type[Params], values: dict[str, Any]) -> dict[str, Any]:
    """Only what was given, in its own type; one value of a range is both its ends."""
    doubled = {key: value * 2 if isinstance(value, list) and len(value) == 1 else value for key, value in values.items()}
    try:
        made = model.model_validate(doubled)
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        raise BadInput(f"{flag} = {first['input']!r}: {first['msg']}") from error
    return {name: getattr(made, name) for name in doubled}


def run_simulation(out: Path, spec: "SessionSpec", quiet: bool = False) -> None:
    """Simulate over all cores, with a bar, and (unless `quiet`) say what lies where."""
    from magellon.simulation.session import simulate_session

    with make_progress() as progress:
        bar = progress.add_task("movies", total=spec.movies, note="")
        simulate_session(out, spec, progress=lambda done, total: progress.update(bar, completed=done, total=total))
    if quiet:
        return
    console.print(f"{spec.movies} movies in {out}; the truth in {out / 'truth'}", markup=False, soft_wrap=True)
    console.print(f"Process them: magellon process {out}", markup=False, soft_wrap=True)
