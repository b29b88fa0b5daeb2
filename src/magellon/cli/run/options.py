"""Flags from a backend's parameter schema: names, units, defaults and limits come from the types, nothing is written twice."""

import enum
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from magellon.errors import BadInput

Schema = Mapping[str, Any]
PANEL = "Parameters of the backend"
ALIASES = {"spherical_aberration": ("--cs",), "exposure_per_frame": ("--exposure",)}
"""Short flags that mean the same in every command."""


@dataclass(frozen=True)
class Parameter:
    """One property of a JSON schema, in words and as a type for the command line."""

    name: str
    kind: str
    """The JSON type: string, integer, number, boolean, array."""
    description: str
    unit: str = ""
    default: Any = None
    choices: tuple[Any, ...] = ()
    limits: str = ""
    is_path: bool = False
    optional: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def default_text(self) -> str:
        """The default with its unit, as `--help` and the reference show it."""
        if self.default is None:
            return "none"
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        value = ",".join(map(str, self.default)) if isinstance(self.default, (list, tuple)) else f"{self.default}"
        return f"{value} {self.unit}".strip() or '""'

    @property
    def metavar(self) -> str:
        if self.choices:
            return "|".join(map(str, self.choices))
        if self.is_path:
            return "FILE,..." if self.kind == "array" else "FILE"
        if self.unit:
            return self.unit
        return {"integer": "N", "number": "X", "array": "X,...", "boolean": "yes|no"}.get(self.kind, "TEXT")


def read_parameters(schema: Schema) -> list[Parameter]:
    """The parameters of a backend in the order its author gave them."""
    return [_read_parameter(name, properties, schema) for name, properties in schema.get("properties", {}).items()]


def _read_parameter(name: str, properties: Schema, schema: Schema) -> Parameter:
    variants = [_resolve(variant, schema) for variant in properties.get("anyOf", [])]
    some = [variant for variant in variants if variant.get("type") != "null"]
    merged = {**_resolve(some[0] if some else properties, schema), **_resolve(properties, schema)}
    kind = str(merged.get("type", "string"))
    items = _resolve((merged.get("prefixItems") or [merged.get("items", {})])[0], schema)
    choices = tuple(merged["enum"]) if "enum" in merged else (merged["const"],) if "const" in merged else ()
    return Parameter(
        name=name,
        kind=kind,
        description=" ".join(str(merged.get("description", "")).split()),
        unit=str(merged.get("unit", items.get("unit", ""))),
        default=merged.get("default"),
        choices=choices,
        limits=_say_limits(merged),
        is_path="path" in str(merged.get("format", items.get("format", ""))),
        optional=len(variants) > len(some),
    )


def _resolve(properties: Schema, schema: Schema) -> Schema:
    """Follow `$ref`, also where it is wrapped into a single `allOf`."""
    if len(properties.get("allOf", ())) == 1:
        properties = {**properties["allOf"][0], **{key: value for key, value in properties.items() if key != "allOf"}}
    if "$ref" not in properties:
        return properties
    target = schema["$defs"][str(properties["$ref"]).rsplit("/", 1)[-1]]
    return {**target, **{key: value for key, value in properties.items() if key != "$ref"}}


def _say_limits(properties: Schema) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return ", ".join(f"{word} {properties[key]:g}" for key, word in words.items() if key in properties)


def make_signature_parameter(parameter: Parameter, flag: str, panel: str = PANEL) -> inspect.Parameter:
    """The parameter as a Typer option that is None unless given: only what a person says reaches the backend."""
    default = [f"default {parameter.default_text}"] if parameter.default is not None else []
    choices = [f"one of {', '.join(map(str, parameter.choices))}"] if parameter.choices else []
    details = "; ".join([*choices, *default, *filter(None, [parameter.limits])])
    option = typer.Option(
        flag,
        *ALIASES.get(parameter.name, ()),
        help=escape(parameter.description + (f" ({details})" if details else "")),
        metavar="WORD" if parameter.choices else parameter.metavar,
        show_default=False,
        rich_help_panel=panel,
    )
    annotation: Any = Annotated[_python_type(parameter) | None, option]
    return inspect.Parameter(python_name(parameter.name), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def python_name(name: str) -> str:
    """The argument's name, which cannot collide with those of the command itself."""
    return f"param_{name}"


def _python_type(parameter: Parameter) -> Any:
    if parameter.choices:
        return enum.Enum(parameter.name, {str(choice): str(choice) for choice in parameter.choices})
    return {"integer": int, "number": float}.get(parameter.kind, str)


def collect_params(parameters: list[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as JSON values ready for the backend's own validation. File names become absolute.

    Raises:
        BadInput: a file that does not exist, or a word that is neither yes nor no.
    """
    given = {}
    for parameter in parameters:
        value = values.get(python_name(parameter.name))
        if value is not None:
            given[parameter.name] = _to_json(parameter, value)
    return given


def _to_json(parameter: Parameter, value: Any) -> Any:
    if parameter.choices:
        return next(choice for choice in parameter.choices if str(choice) == value.value)
    if parameter.kind == "boolean":
        return _to_bool(parameter, value)
    if parameter.kind == "array":
        parts = [part.strip() for part in value.split(",") if part.strip()]
        return [_existing(parameter, part) if parameter.is_path else _number_or_text(part) for part in parts]
    return _existing(parameter, value) if parameter.is_path else value


def _to_bool(parameter: Parameter, text: str) -> bool:
    words = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
    if text.lower() not in words:
        raise BadInput(f"{parameter.flag} is yes or no, not {text!r}")
    return words[text.lower()]


def _existing(parameter: Parameter, value: str) -> str:
    path = Path(value).expanduser().absolute()
    if not path.exists():
        raise BadInput(f"{parameter.flag}: {value} does not exist")
    return str(path)


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
