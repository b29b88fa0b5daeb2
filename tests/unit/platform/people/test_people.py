"""Recognising callers, what they see, and what administrators change."""

import pytest
from sqlalchemy import select

from magellon.errors import BadInput
from magellon.platform.people.accounts import LOCAL, NewAccount
from magellon.platform.people.administration import Administration
from magellon.platform.people.audit import list_acts
from magellon.platform.people.caller import Caller, How
from magellon.platform.people.credentials import LONGEST_LIFETIME, list_credentials
from magellon.platform.people.directory import People
from magellon.platform.people.logins import Logins
from magellon.platform.people.roles import Role
from magellon.platform.people.secret import PATTERN, make_secret
from magellon.platform.store.schema import credentials, users
from people_cast import Clock

pytestmark = pytest.mark.usefixtures("logins")


def recognise(people: People, secret: str) -> Caller:
    caller = people.recognise(secret)
    assert caller is not None
    return caller


def read_everything(people: People) -> str:
    """All that the tables about people hold."""
    with people.ledger.reading() as connection:
        kept = [connection.execute(select(table)).all() for table in (users, credentials)]
        return repr(kept) + repr(list_acts(connection, None, 1000))


def test_a_token_is_recognised_and_only_its_hash_is_kept(people: People, administration: Administration) -> None:
    token = administration.issue_token("otto", "script", 7)
    assert PATTERN.fullmatch(token)
    caller = recognise(people, token)
    assert (caller.name, caller.role, caller.how) == ("otto", Role.OPERATOR, How.TOKEN)
    assert token not in read_everything(people)
    assert people.recognise(token[:-1]) is None
    assert people.recognise(token + "x") is None
    assert people.recognise("\ud800") is None


def test_a_token_ends_with_its_time_even_when_just_used(people: People, administration: Administration, clock: Clock) -> None:
    token = administration.issue_token("otto", "script", 1)
    clock.at += 86400 - 0.5
    recognise(people, token)
    clock.at += 1
    assert people.recognise(token) is None


def test_a_revoked_token_is_refused_at_once(people: People, administration: Administration) -> None:
    token = administration.issue_token("otto", "script", 1)
    caller = recognise(people, token)
    assert not administration.revoke_token("vera", caller.user_id + 1, caller.credential_id)  # not one of theirs
    assert people.recognise(token)
    assert administration.revoke_token("otto", caller.user_id, caller.credential_id)
    assert people.recognise(token) is None


def test_a_changed_role_counts_at_once(people: People, administration: Administration) -> None:
    token = administration.issue_token("ada", "script", 1)
    assert recognise(people, token).role == Role.ADMIN
    people.adopt_start_token(make_secret())  # somebody else who governs
    administration.change_role("ada", Role.VIEWER)
    assert recognise(people, token).role == Role.VIEWER


def test_a_disabled_user_is_nobody_and_their_tokens_stay_dead(people: People, administration: Administration) -> None:
    token = administration.issue_token("otto", "script", 1)
    assert administration.disable("otto").disabled
    assert people.recognise(token) is None
    with pytest.raises(BadInput, match="disabled"):
        administration.issue_token("otto", "script", 1)
    administration.disable("otto", False)
    assert people.recognise(token) is None


def test_use_is_noted_at_most_once_a_minute(people: People, administration: Administration, clock: Clock) -> None:
    token = administration.issue_token("otto", "script", 1)
    caller = recognise(people, token)
    noted = []
    for _ in range(10):
        clock.at += 15
        recognise(people, token)
        with people.ledger.reading() as connection:
            noted.append(list_credentials(connection, caller.user_id, clock.at)[0].used_at)
    assert noted == [1e9, 1e9, 1e9] + [1e9 + 60] * 4 + [1e9 + 120] * 3


def test_memory_is_bounded(people: People, administration: Administration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magellon.platform.people.directory._AT_HAND", 3)
    for number in range(6):
        assert people.recognise(administration.issue_token("otto", f"t{number}", 1))
        assert people.recognise(f"wrong {number}") is None
    assert len(people._known) <= 3


def test_tokens_are_bounded_in_number_and_time(administration: Administration) -> None:
    for days in (0, -1, LONGEST_LIFETIME / 86400 + 1):
        with pytest.raises(BadInput, match="days"):
            administration.issue_token("otto", "script", days)
    for label in ("", "x" * 201, "a\0b"):
        with pytest.raises(BadInput, match="name of a token"):
            administration.issue_token("otto", label, 1)
    for _ in range(50):
        administration.issue_token("otto", "script", 1)
    with pytest.raises(BadInput, match="at most 50"):
        administration.issue_token("otto", "script", 1)


def test_the_token_of_a_start_replaces_the_one_before(people: People) -> None:
    first, second = make_secret(), make_secret()
    people.adopt_start_token(first)
    caller = recognise(people, first)
    assert (caller.name, caller.role, caller.how) == (LOCAL, Role.ADMIN, How.START)
    people.adopt_start_token(second)
    assert people.recognise(first) is None
    assert people.recognise(second)


def test_viewers_see_what_they_were_given_and_others_all(people: People, administration: Administration) -> None:
    vera = recognise(people, administration.issue_token("vera", "script", 1))
    otto = recognise(people, administration.issue_token("otto", "script", 1))
    assert people.list_visible(vera) == frozenset()
    administration.give_session(2, "vera")
    administration.give_session(2, "vera")
    assert people.list_visible(vera) == {2}
    assert people.list_visible(otto) is None
    administration.withdraw_session(2, "vera")
    assert people.list_visible(vera) == frozenset()


@pytest.mark.parametrize("name", ["", "Vera", "a/b", "../x", "a b", "-x", "a\n", "x" * 65, "ä", "<b>", "a\0"])
def test_names_that_are_none(administration: Administration, name: str) -> None:
    with pytest.raises(BadInput, match="no user name"):
        administration.add_user(NewAccount(name, Role.VIEWER))


def test_names_and_subjects_are_unique(administration: Administration) -> None:
    with pytest.raises(BadInput, match="already"):
        administration.add_user(NewAccount("vera", Role.ADMIN))
    administration.add_user(NewAccount("one", Role.VIEWER, subject="https://id 1"))
    with pytest.raises(BadInput, match="another user"):
        administration.add_user(NewAccount("two", Role.VIEWER, subject="https://id 1"))


def test_the_last_administrator_stays(people: People, administration: Administration) -> None:
    with pytest.raises(BadInput, match="only administrator"):
        administration.change_role("ada", Role.OPERATOR)
    with pytest.raises(BadInput, match="only administrator"):
        administration.disable("ada")
    administration.change_role("otto", Role.ADMIN)
    assert administration.disable("ada").disabled
    with pytest.raises(BadInput, match="only administrator"):  # a disabled one does not count
        administration.disable("otto")


def test_each_act_is_recorded_with_who_and_whom(people: People, administration: Administration) -> None:
    administration.change_role("vera", Role.OPERATOR)
    administration.issue_token("vera", "for mgl_" + "x" * 43, 1)
    administration.give_session(1, "vera")
    with people.ledger.reading() as connection:
        acts = list_acts(connection, None, 3)
        assert list_acts(connection, acts[-1].id, 1)[0].action == "add user"
    assert [(act.user, act.action, act.target) for act in acts] == [
        ("test", "give session", "vera"), ("test", "issue token", "vera"), ("test", "change role", "vera"),
    ]  # fmt: skip
    assert acts[1].detail["label"] == "for ***"
    assert acts[2].detail == {"role": "operator", "before": "viewer"}


def test_an_act_that_fails_leaves_no_entry(people: People, administration: Administration) -> None:
    before = read_everything(people)
    with pytest.raises(BadInput):
        administration.change_role("nobody", Role.ADMIN)
    assert read_everything(people) == before


def test_secrets_of_logins_are_not_kept_in_the_open(people: People, logins: Logins) -> None:
    people.adopt_start_token(token := make_secret())
    secret = logins.with_token(token, "127.0.0.1")
    kept = read_everything(people)
    assert secret not in kept
    assert token not in kept
