"""Who asks."""

from dataclasses import dataclass
from enum import StrEnum

from magellon.platform.people.roles import Role


class How(StrEnum):
    """The kind of the credential that was shown; the value of `credentials.kind`."""

    START = "start"
    """The token printed when the server starts."""
    TOKEN = "token"  # noqa: S105
    BROWSER = "browser"
    """A cookie: what it writes is checked to come from our own pages."""


@dataclass(frozen=True)
class Caller:
    """A person or their program, recognised."""

    user_id: int
    name: str
    role: Role
    credential_id: int
    how: How

    @property
    def sees_all(self) -> bool:
        """Operators and administrators see every session; viewers those given to them."""
        return self.role >= Role.OPERATOR
