"""Who plays in the tests about people: a viewer, an operator, an administrator, and a clock."""

from dataclasses import dataclass

from argon2 import PasswordHasher

from magellon.platform.people.accounts import NewAccount
from magellon.platform.people.administration import Administration
from magellon.platform.people.passwords import Passwords
from magellon.platform.people.roles import Role

PASSWORD = "correct horse battery"  # of everybody
CAST = {"vera": Role.VIEWER, "otto": Role.OPERATOR, "ada": Role.ADMIN}


@dataclass
class Clock:
    """Seconds; stands still until it is moved."""

    at: float = 1e9

    def __call__(self) -> float:
        return self.at


def make_quick_passwords() -> Passwords:
    """The least that argon2 allows: its strength is not what is tested."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def add_cast(administration: Administration, passwords: Passwords) -> None:
    hashed = passwords.hash(PASSWORD)
    for name, role in CAST.items():
        administration.add_user(NewAccount(name, role, hashed))
