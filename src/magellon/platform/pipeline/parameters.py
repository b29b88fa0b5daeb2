"""Parameters checked and completed from a backend's JSON schema alone, as written by pydantic.

The backend validates again with its own class when it runs; here mistakes are found before anything runs, and every default
is written out, because the identity of a result holds all parameters.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from magellon.contracts.description import Description
from magellon.errors import BadInput

PathVisitor = Callable[[str], str]


def fill_parameters(
    description: Description, given: Mapping[str, Any], where: str = "", visit_path: PathVisitor | None = None
) -> dict[str, Any]:
    """All parameters of a backend, the given ones checked, the others at their defaults.

    `where` precedes parameter names in messages (the step's key). `visit_path` is applied to each file name among the values.

    Raises:
        BadInput: an unknown parameter, a missing one, or a value that is not allowed; names it, its value and the limit.
    """
    schema = description.parameters
    properties = schema.get("properties", {})
    prefix = f"{where}." if where else ""
    for name in given:
        if name not in properties:
            known = ", ".join(properties) or "none"
            raise BadInput(f"{prefix}{name}: {description.key} has no such parameter (it has {known})")
    reader = _Reader(schema.get("$defs", {}), visit_path or (lambda path: path))
    filled = {}
    for name, rules in properties.items():
        if name in given:
            filled[name] = reader.read(rules, given[name], prefix + name)
        elif name in description.defaults:
            filled[name] = reader.read(rules, description.defaults[name], prefix + name)
        else:
            raise BadInput(f"{prefix}{name}: {description.key} needs this parameter")
    return filled


class _Reader:
    def __init__(self, definitions: Mapping[str, Any], visit_path: PathVisitor) -> None:
        self._definitions = definitions
        self._visit_path = visit_path

    def read(self, rules: Mapping[str, Any], value: Any, where: str) -> Any:
        if "$ref" in rules:
            rules = {**self._definitions[rules["$ref"].rpartition("/")[2]], **{k: v for k, v in rules.items() if k != "$ref"}}
        for part in rules.get("allOf", ()):
            value = self.read(part, value, where)
        choices = rules.get("anyOf") or rules.get("oneOf")
        if choices:
            return self._read_any(choices, value, where)
        if "const" in rules and value != rules["const"]:
            raise BadInput(f"{where} = {value!r}: must be {rules['const']!r}")
        if "enum" in rules and value not in rules["enum"]:
            raise BadInput(f"{where} = {value!r}: must be one of {', '.join(map(repr, rules['enum']))}")
        kind = rules.get("type")
        read = getattr(self, f"_read_{kind}", None) if kind else None
        return read(rules, value, where) if read else value

    def _read_any(self, choices: list[Mapping[str, Any]], value: Any, where: str) -> Any:
        if value is None and any(choice.get("type") == "null" for choice in choices):
            return None
        problems = []
        for choice in choices:
            if choice.get("type") != "null":
                try:
                    return self.read(choice, value, where)
                except BadInput as error:
                    problems.append(str(error))
        raise BadInput(problems[0] if len(problems) == 1 else f"{where} = {value!r}: fits none of what is allowed")

    def _read_null(self, rules: Mapping[str, Any], value: Any, where: str) -> None:
        if value is not None:
            raise BadInput(f"{where} = {value!r}: must be left out")

    def _read_boolean(self, rules: Mapping[str, Any], value: Any, where: str) -> bool:
        if not isinstance(value, bool):
            raise BadInput(f"{where} = {value!r}: must be true or false")
        return value

    def _read_number(self, rules: Mapping[str, Any], value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise BadInput(f"{where} = {value!r}: must be a number{_unit(rules)}")
        _check_limits(rules, value, where)
        return float(value)

    def _read_integer(self, rules: Mapping[str, Any], value: Any, where: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadInput(f"{where} = {value!r}: must be a whole number{_unit(rules)}")
        _check_limits(rules, value, where)
        return value

    def _read_string(self, rules: Mapping[str, Any], value: Any, where: str) -> str:
        if not isinstance(value, str):
            raise BadInput(f"{where} = {value!r}: must be text")
        if "pattern" in rules and not re.search(rules["pattern"], value):
            raise BadInput(f"{where} = {value!r}: must match {rules['pattern']}")
        _check_length(rules, value, where, "Length", "characters")
        return self._visit_path(value) if rules.get("format") in ("path", "file-path", "directory-path") else value

    def _read_array(self, rules: Mapping[str, Any], value: Any, where: str) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            value = [value]  # one file where several may be given
        _check_length(rules, value, where, "Items", "values")
        first = rules.get("prefixItems", [])
        rest = rules.get("items", {})
        return [
            self.read(first[index] if index < len(first) else rest, item, f"{where}[{index}]")
            for index, item in enumerate(value)
        ]

    def _read_object(self, rules: Mapping[str, Any], value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise BadInput(f"{where} = {value!r}: must be a table")
        properties = rules.get("properties", {})
        others = rules.get("additionalProperties", True)
        read = {}
        for name, item in value.items():
            if name not in properties and others is False:
                raise BadInput(f"{where}.{name}: no such parameter")
            read[name] = self.read(properties.get(name, others if isinstance(others, Mapping) else {}), item, f"{where}.{name}")
        for name, item_rules in properties.items():
            if name not in read:
                if "default" not in item_rules:
                    raise BadInput(f"{where}.{name}: is needed")
                read[name] = self.read(item_rules, item_rules["default"], f"{where}.{name}")
        return read


def _unit(rules: Mapping[str, Any]) -> str:
    return f" ({rules['unit']})" if "unit" in rules else ""


def _check_limits(rules: Mapping[str, Any], value: float, where: str) -> None:
    limits: dict[str, tuple[str, Callable[[float, float], bool]]] = {
        "minimum": ("at least", lambda x, limit: x >= limit),
        "maximum": ("at most", lambda x, limit: x <= limit),
        "exclusiveMinimum": ("above", lambda x, limit: x > limit),
        "exclusiveMaximum": ("below", lambda x, limit: x < limit),
        "multipleOf": ("a multiple of", lambda x, limit: math.isclose(x / limit, round(x / limit), abs_tol=1e-9)),
    }
    for keyword, (words, fits) in limits.items():
        if keyword in rules and not fits(value, rules[keyword]):
            unit = f" {rules['unit']}" if "unit" in rules else ""
            raise BadInput(f"{where} = {value}{unit}: must be {words} {rules[keyword]}{unit}")


def _check_length(rules: Mapping[str, Any], value: Any, where: str, what: str, noun: str) -> None:
    if len(value) < rules.get(f"min{what}", 0):
        raise BadInput(f"{where} = {value!r}: at least {rules[f'min{what}']} {noun}")
    if len(value) > rules.get(f"max{what}", math.inf):
        raise BadInput(f"{where} = {value!r}: at most {rules[f'max{what}']} {noun}")
