"""Files that cannot be read: told of as failed, while the others go on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from magellon.errors import BadInput

T = TypeVar("T")


class Unreadable(BadInput):
    """A file itself is damaged or missing; others may be sound."""


@dataclass(frozen=True)
class Damaged:
    """One that is set aside."""

    name: str
    reason: str


@dataclass
class SetAside:
    """Collects them."""

    files: list[Damaged] = field(default_factory=list)

    def attempt(self, name: str, make: Callable[[], T]) -> list[T]:
        """What `make` makes, or nothing if the file is unreadable."""
        try:
            return [make()]
        except Unreadable as error:
            self.files.append(Damaged(name, str(error)))
            return []
