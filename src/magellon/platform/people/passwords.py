"""Passwords: what is demanded of them, and argon2id hashes."""

from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from magellon.errors import BadInput
from magellon.platform.people.secret import make_secret

SHORTEST, LONGEST = 12, 200
_FEWEST_DISTINCT = 6


def check_password(name: str, password: str) -> None:
    """Whether a password may be chosen: long and not obvious. No rules about kinds of characters, which make them no better.

    Raises:
        BadInput: what is wrong with it; never the password itself.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadInput(f"the password has {len(password)} characters; {SHORTEST} to {LONGEST} are allowed")
    if len(set(password)) < _FEWEST_DISTINCT:
        raise BadInput(f"the password has {len(set(password))} different characters; at least {_FEWEST_DISTINCT} are needed")
    if any(part in password.lower() for part in (name.lower(), "magellon", "password") if len(part) > 3):
        raise BadInput("the password contains the user's name or another obvious word")


class Passwords:
    """Makes and checks hashes; each takes some 50 ms and 64 MB, so that guessing is expensive."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()

    @cached_property
    def _nobody(self) -> str:
        return self._hasher.hash(make_secret())

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def verify(self, kept: str | None, password: str) -> bool:
        """Whether the password is right. Without a hash (unknown user, no password set) it takes as long and is wrong."""
        nobody = self._nobody  # also when it is not needed, so that the first attempt tells nothing by its time either
        try:
            right = self._hasher.verify(kept or nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return right and kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether the hash was made with weaker settings than today's and is to be made again."""
        return self._hasher.check_needs_rehash(kept)
