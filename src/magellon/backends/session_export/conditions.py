"""Conditions on metrics: `ctf_resolution<=6`, `5000<=defocus<=20000`."""

import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from magellon.contracts import BadInput

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FORM = re.compile(
    rf"\s*(?:(?P<low>{_NUMBER})\s*(?P<above><=|<)\s*)?(?P<metric>[A-Za-z_][A-Za-z0-9_]*)"
    rf"(?:\s*(?P<compare><=|>=|==|<|>)\s*(?P<bound>{_NUMBER}))?\s*"
)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
}  # fmt: skip
_MIRRORED = {"<": ">", "<=": ">="}


@dataclass(frozen=True)
class Condition:
    """One comparison of a metric with a number."""

    metric: str
    compare: str
    bound: float

    def holds(self, value: float | None) -> bool:
        """Whether a value fulfils it; one that is not known does not."""
        return value is not None and _COMPARE[self.compare](value, self.bound)


def parse_conditions(
    texts: Sequence[str], metrics: Collection[str], aliases: Mapping[str, str] | None = None
) -> list[Condition]:
    """The comparisons that texts mean. `aliases` are other names of metrics.

    Raises:
        BadInput: a text in no such form, or a metric that is none of those known.
    """
    found = []
    for text in texts:
        match = _FORM.fullmatch(text)
        if not match or not (match["above"] or match["compare"]):
            raise BadInput(f"where {text!r}: write METRIC<=NUMBER (or <, >, >=, ==) or LOW<=METRIC<=HIGH")
        metric = (aliases or {}).get(match["metric"], match["metric"])
        if metric not in metrics:
            raise BadInput(f"where {text!r}: no metric {metric!r}; there are {', '.join(metrics)}")
        if match["above"]:
            if match["compare"] in (">", ">=", "=="):
                raise BadInput(f"where {text!r}: a range is written LOW<=METRIC<=HIGH")
            found.append(Condition(metric, _MIRRORED[match["above"]], float(match["low"])))
        if match["compare"]:
            found.append(Condition(metric, match["compare"], float(match["bound"])))
    return found
