"""What the platform knows of a backend without importing it: printed by `python -m magellon.backends.describe`."""

from typing import Any

from pydantic import Field

from magellon.contracts.record import Record


class Description(Record):
    """One backend in plain data: enough for forms, help, recipe validation and the identity of its results."""

    category: str
    name: str
    version: int = 1
    summary: str = ""
    """First line of the class's docstring."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """JSON schema of its parameters; `unit` is a keyword of ours."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """Value of each parameter that may be left out."""
    ignores: tuple[str, ...] = ()
    """Fields of its input it does not look at."""
    distribution: str = ""
    """The package that brings it, with its version."""
    requirements: tuple[str, ...] = ()
    """What it needs on the machine beyond its package, such as external programs."""
    error: str | None = None
    """Why it cannot be used here (an import that fails, say); None when it can."""

    @property
    def key(self) -> str:
        return f"{self.category}/{self.name}"
