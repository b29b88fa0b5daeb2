"""One line of the doctor's report."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "absent", "problem"]
"""Absent: it works without. Problem: something will fail."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and what it means for the person."""

    area: str
    subject: str
    state: State
    found: str
    meaning: str = ""
