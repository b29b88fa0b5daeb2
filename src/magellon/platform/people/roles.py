"""What people may do: each role may all that the ones below it may."""

from enum import StrEnum


class Role(StrEnum):
    """Viewers look at the sessions given to them, operators change jobs and sessions, admins people and plugins.

    Compared by their rights, not by the alphabet: `Role.VIEWER < Role.OPERATOR < Role.ADMIN`.
    """

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def __lt__(self, other: str) -> bool:
        return _ORDER[self] < _ORDER[Role(other)]

    def __le__(self, other: str) -> bool:
        return _ORDER[self] <= _ORDER[Role(other)]

    def __gt__(self, other: str) -> bool:
        return _ORDER[self] > _ORDER[Role(other)]

    def __ge__(self, other: str) -> bool:
        return _ORDER[self] >= _ORDER[Role(other)]


_ORDER = {role: order for order, role in enumerate(Role)}
