"""The reference page of the backends, made from their descriptions."""

from collections.abc import Sequence
from itertools import groupby

from magellon.cli.run.options import Parameter, read_parameters
from magellon.contracts.description import Description

HEADING = """# Backends

Made by `magellon backends --markdown` from the backends' own types; a test keeps it current. A parameter is set by
`magellon run CATEGORY/BACKEND ... --parameter-name VALUE`, by `magellon process ... --set STEP.parameter_name=VALUE`, or in a
[recipe](recipes.md).
"""


def format_reference(descriptions: Sequence[Description]) -> str:
    """Markdown, in the order given. Only what comes with Magellon itself."""
    own = [each for each in descriptions if each.distribution.split(" ")[0] in ("magellon", "") and not each.error]
    parts = [HEADING]
    for category, group in groupby(own, key=lambda each: each.category):
        parts.append(f"\n## {category}\n")
        parts += [_format_backend(each) for each in group]
    return "".join(parts)


def _format_backend(description: Description) -> str:
    lines = [f"\n### {description.key}\n", f"{description.summary} (results version {description.version})\n"]
    parameters = read_parameters(description.parameters)
    if not parameters:
        return "\n".join([*lines, "It has no parameters.\n"])
    lines += ["| parameter | unit | default | allowed | meaning |", "|---|---|---|---|---|"]
    lines += [_format_parameter(each) for each in parameters]
    return "\n".join([*lines, ""])


def _format_parameter(parameter: Parameter) -> str:
    allowed = ", ".join(f"`{choice}`" for choice in parameter.choices) or parameter.limits
    default = "" if parameter.default is None else f"`{parameter.default_text.removesuffix(parameter.unit).strip()}`"
    cells = [f"`{parameter.name}`", parameter.unit, default, allowed, parameter.description]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
