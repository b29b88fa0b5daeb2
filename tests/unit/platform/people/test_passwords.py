import pytest
from argon2 import PasswordHasher

from magellon.errors import BadInput
from magellon.platform.people.passwords import Passwords, check_password


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short", "12 to 200"),
        ("x" * 201, "12 to 200"),
        ("abababababababab", "2 different"),
        ("veras-long-secret", "obvious"),
        ("My-Magellon-2026!", "obvious"),
    ],
)
def test_obvious_passwords_are_refused_without_being_repeated(password: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        check_password("vera", password)
    assert password not in str(caught.value)


def test_a_long_one_of_any_characters_will_do() -> None:
    check_password("vera", "correct horse battery")
    check_password("vera", "Ångström über alles")


def test_only_the_right_password_fits_its_hash(quick_passwords: Passwords) -> None:
    kept = quick_passwords.hash("correct horse battery")
    assert kept.startswith("$argon2id$")
    assert kept != quick_passwords.hash("correct horse battery")
    assert quick_passwords.verify(kept, "correct horse battery")
    assert not quick_passwords.verify(kept, "correct horse batterx")
    assert not quick_passwords.verify("no hash", "correct horse battery")
    assert not quick_passwords.verify(None, "correct horse battery")


def test_an_unknown_user_costs_the_same_work(quick_passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    verify = PasswordHasher.verify
    monkeypatch.setattr(PasswordHasher, "verify", lambda self, kept, given: asked.append(kept) or verify(self, kept, given))
    quick_passwords.verify(None, "x")
    quick_passwords.verify(quick_passwords.hash("y"), "x")
    assert len(asked) == 2
    parameters = [kept.rsplit("$", 2)[0] for kept in asked]
    assert parameters[0] == parameters[1]  # the same algorithm, memory and rounds


def test_a_hash_of_weaker_settings_is_outdated(quick_passwords: Passwords) -> None:
    weak = quick_passwords.hash("correct horse battery")
    assert not quick_passwords.is_outdated(weak)
    assert Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)).is_outdated(weak)
