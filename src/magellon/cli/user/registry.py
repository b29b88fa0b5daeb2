"""Where `magellon user` makes its changes: at the running server, or in the ledger while no server runs."""

import asyncio
import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import httpx2

from magellon.errors import BadInput, Transient
from magellon.platform.launch.lock import hold_lock
from magellon.platform.people.access import find_session
from magellon.platform.people.accounts import Account, NewAccount, list_accounts
from magellon.platform.people.administration import Administration
from magellon.platform.people.directory import People
from magellon.platform.people.passwords import Passwords, check_password
from magellon.platform.people.roles import Role
from magellon.platform.people.start_token import read_start_token
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger

_PATIENCE, _DATABASE_PATIENCE = 30.0, 5.0


class Registry(Protocol):
    """What can be done about people. Each raises BadInput with the reason when it cannot."""

    def list_users(self) -> list[dict[str, Any]]: ...
    def add(self, name: str, role: Role, password: str | None, subject: str | None) -> None: ...
    def change_role(self, name: str, role: Role) -> None: ...
    def change_password(self, name: str, password: str) -> None: ...
    def disable(self, name: str, disabled: bool) -> None: ...
    def issue_token(self, name: str, label: str, days: float) -> str: ...
    def give(self, name: str, session: str, seen: bool) -> None: ...


@contextmanager
def open_registry(home: Home, database: str | None = None) -> Iterator[Registry]:
    """The server's if one runs, or the ledger's, which nobody else can open meanwhile.

    Raises:
        BadInput: neither can be used, or a server elsewhere works on the database.
    """
    if (home.state / "lock").exists() and _is_locked(home):
        with httpx2.Client(**_find_server(home), timeout=_PATIENCE, trust_env=False) as client:
            yield ServerRegistry(client)
        return
    home.prepare()
    loop = asyncio.new_event_loop()
    lock = hold_lock(home.lock, patience=0)
    loop.run_until_complete(lock.__aenter__())
    ledger = Ledger(database) if database else Ledger.at(home.ledger)
    try:
        ledger.await_database(_DATABASE_PATIENCE)
        ledger.migrate()
        yield LedgerRegistry(Administration(People(ledger), f"{getpass.getuser()} at the command line"))
    finally:
        ledger.close()
        loop.run_until_complete(lock.__aexit__(None, None, None))
        loop.close()


def _is_locked(home: Home) -> bool:
    async def attempt() -> bool:
        try:
            async with hold_lock(home.lock, patience=0):
                return False
        except BadInput:
            return True

    return asyncio.run(attempt())


def _find_server(home: Home) -> dict[str, Any]:
    try:
        url = json.loads((home.state / "server.json").read_text())["url"]
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"something works in {home.state} that does not say where its server is: {error}") from error
    return {"base_url": f"{url}/api/v1", "headers": {"Authorization": f"Bearer {read_start_token(home.state)}"}}


@dataclass(frozen=True)
class LedgerRegistry:
    """While no server runs."""

    acts: Administration

    def list_users(self) -> list[dict[str, Any]]:
        with self.acts.people.ledger.reading() as connection:
            return [_describe(account) for account in list_accounts(connection)]

    def add(self, name: str, role: Role, password: str | None, subject: str | None) -> None:
        self.acts.add_user(NewAccount(name, role, _hash(name, password) if password is not None else None, subject))

    def change_role(self, name: str, role: Role) -> None:
        self.acts.change_role(name, role)

    def change_password(self, name: str, password: str) -> None:
        self.acts.change_password(name, _hash(name, password))

    def disable(self, name: str, disabled: bool) -> None:
        self.acts.disable(name, disabled)

    def issue_token(self, name: str, label: str, days: float) -> str:
        return self.acts.issue_token(name, label, days)

    def give(self, name: str, session: str, seen: bool) -> None:
        with self.acts.people.ledger.reading() as connection:
            found = find_session(connection, session)
        if found is None:
            raise BadInput(f"there is no session {session!r}")
        (self.acts.give_session if seen else self.acts.withdraw_session)(found, name)


def _hash(name: str, password: str) -> str:
    check_password(name, password)
    return Passwords().hash(password)


def _describe(account: Account) -> dict[str, Any]:
    return {
        "name": account.name,
        "role": str(account.role),
        "disabled": account.disabled,
        "has_password": account.has_password,
        "subject": account.subject,
    }


@dataclass(frozen=True)
class ServerRegistry:
    """The running server, as the administrator who started it."""

    client: httpx2.Client

    def list_users(self) -> list[dict[str, Any]]:
        users: list[dict[str, Any]] = self._ask("GET", "/users")
        return users

    def add(self, name: str, role: Role, password: str | None, subject: str | None) -> None:
        self._ask("POST", "/users", {"name": name, "role": role, "password": password, "subject": subject})

    def change_role(self, name: str, role: Role) -> None:
        self._ask("PATCH", f"/users/{quote(name, safe='')}", {"role": role})

    def change_password(self, name: str, password: str) -> None:
        self._ask("PATCH", f"/users/{quote(name, safe='')}", {"password": password})

    def disable(self, name: str, disabled: bool) -> None:
        self._ask("PATCH", f"/users/{quote(name, safe='')}", {"disabled": disabled})

    def issue_token(self, name: str, label: str, days: float) -> str:
        issued = self._ask("POST", f"/users/{quote(name, safe='')}/tokens", {"name": label, "days": days})
        return str(issued["token"])

    def give(self, name: str, session: str, seen: bool) -> None:
        found = self._ask("GET", "/sessions", query={"name": session, "limit": "1000"})["items"]
        numbers = [each["id"] for each in found if each["name"] == session]
        if not numbers:
            raise BadInput(f"there is no session {session!r}")
        self._ask("PUT" if seen else "DELETE", f"/sessions/{numbers[0]}/people/{quote(name, safe='')}")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None, query: dict[str, str] | None = None) -> Any:
        try:
            answer = self.client.request(method, path, json=body, params=query)
        except httpx2.HTTPError as error:
            raise Transient(f"the server does not answer: {error}") from error
        if answer.is_success:
            return answer.json() if answer.content else None
        try:
            detail = answer.json()["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"status {answer.status_code}"
        raise BadInput(f"the server refuses: {detail}")
