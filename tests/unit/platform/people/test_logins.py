"""Logging in by password and by token."""

import asyncio

import pytest
from argon2 import PasswordHasher

from magellon.platform.people.accounts import find_password
from magellon.platform.people.administration import Administration
from magellon.platform.people.audit import list_acts
from magellon.platform.people.caller import How
from magellon.platform.people.directory import People
from magellon.platform.people.logins import LoginRefused, Logins, TooManyTries
from magellon.platform.people.passwords import Passwords
from magellon.platform.people.secret import make_secret
from people_cast import PASSWORD, Clock

HERE = "192.0.2.1"


def log_in(logins: Logins, name: str, password: str = PASSWORD, address: str = HERE) -> str:
    return asyncio.run(logins.with_password(name, password, address))


def test_the_right_password_opens_a_login_that_ends_after_a_day(people: People, logins: Logins, clock: Clock) -> None:
    secret = log_in(logins, "vera")
    caller = people.recognise(secret)
    assert caller is not None
    assert (caller.name, caller.how) == ("vera", How.BROWSER)
    clock.at += 86401
    assert people.recognise(secret) is None


def test_wrong_names_and_passwords_are_refused_in_the_same_words(
    people: People, logins: Logins, administration: Administration
) -> None:
    administration.disable("otto")
    words = set()
    for name, password in (
        ("vera", "wrong"),
        ("nobody", PASSWORD),
        ("otto", PASSWORD),
        ("", ""),
        ("a\0", "b\0"),
        ("\ud800", "x"),
    ):
        with pytest.raises(LoginRefused) as caught:
            log_in(logins, name, password)
        words.add(str(caught.value))
    assert words == {"unknown name or wrong password"}
    with people.ledger.reading() as connection:
        assert [act.action for act in list_acts(connection, None, 6)] == ["login refused"] * 6


def test_each_login_has_a_secret_of_its_own_and_log_out_ends_that_one(people: People, logins: Logins) -> None:
    first, second = log_in(logins, "vera"), log_in(logins, "vera")
    assert first != second
    caller = people.recognise(first)
    assert caller is not None
    logins.log_out(caller)
    assert people.recognise(first) is None
    assert people.recognise(second)


def test_the_oldest_login_makes_room(people: People, logins: Logins) -> None:
    secrets = [log_in(logins, "vera") for _ in range(21)]
    assert people.recognise(secrets[0]) is None
    assert all(people.recognise(secret) for secret in secrets[1:])


def test_a_new_password_ends_logins_made_with_the_old(people: People, logins: Logins, administration: Administration) -> None:
    secret = log_in(logins, "vera")
    administration.change_password("vera", logins.passwords.hash("another long secret"))
    assert people.recognise(secret) is None
    with pytest.raises(LoginRefused):
        log_in(logins, "vera")
    assert people.recognise(log_in(logins, "vera", "another long secret"))


def test_a_token_becomes_a_login_that_ends_with_it(people: People, logins: Logins, administration: Administration) -> None:
    token = administration.issue_token("vera", "script", 30)
    secret = logins.with_token(token, HERE)
    owner = people.recognise(token)
    assert people.recognise(secret)
    assert owner is not None
    administration.revoke_token("vera", owner.user_id, owner.credential_id)
    assert people.recognise(secret) is None


def test_a_login_lasts_no_longer_than_its_token(
    people: People, logins: Logins, administration: Administration, clock: Clock
) -> None:
    secret = logins.with_token(administration.issue_token("vera", "script", 0.5), HERE)
    clock.at += 43201
    assert people.recognise(secret) is None


def test_a_login_makes_no_other(logins: Logins) -> None:
    with pytest.raises(LoginRefused):
        logins.with_token(log_in(logins, "vera"), HERE)
    with pytest.raises(LoginRefused):
        logins.with_token(make_secret(), HERE)


def test_guessing_is_stopped_by_name_and_by_address(logins: Logins) -> None:
    for number in range(10):
        with pytest.raises(LoginRefused):
            log_in(logins, "vera", "wrong", f"192.0.2.{number}")
    with pytest.raises(TooManyTries, match="try again in 10 s"):  # also for the right one, or the answer would tell
        log_in(logins, "vera", PASSWORD, "192.0.2.99")
    for number in range(30):
        with pytest.raises(LoginRefused):
            log_in(logins, f"user{number}", "wrong", "198.51.100.7")
    with pytest.raises(TooManyTries):
        log_in(logins, "ada", PASSWORD, "198.51.100.7")
    assert log_in(logins, "ada", PASSWORD, "198.51.100.8")


def test_a_weak_hash_is_made_anew_at_the_next_login(people: People, logins: Logins) -> None:
    def kept() -> str | None:
        with people.ledger.reading() as connection:
            return find_password(connection, "vera")

    weak = kept()
    stronger = Logins(people, Passwords(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)))
    assert people.recognise(log_in(stronger, "vera"))
    assert kept() != weak
    assert "t=2" in (kept() or "")
    assert people.recognise(log_in(stronger, "vera"))
