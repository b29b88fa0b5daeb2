"""Physical units as types: `Angstrom` is a float whose JSON schema, form, help and documentation say "Å".

Nothing is converted here. Inside Magellon every quantity already has the unit of its type; conversion happens only where
files are read or written.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Unit:
    """The unit of a number, shown as the `unit` keyword of its JSON schema."""

    symbol: str

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(core_schema), "unit": self.symbol}


Angstrom = Annotated[float, Unit("Å")]
AngstromPerPixel = Annotated[float, Unit("Å/px")]
SquareAngstrom = Annotated[float, Unit("Å²")]
Pixel = Annotated[int, Unit("px")]
SubPixel = Annotated[float, Unit("px")]
Kilovolt = Annotated[float, Unit("kV")]
Millimetre = Annotated[float, Unit("mm")]
Degree = Annotated[float, Unit("°")]
Second = Annotated[float, Unit("s")]
Exposure = Annotated[float, Unit("e/Å²")]
"""Electrons per Å² of specimen; the field's name says whether per frame or in total."""
