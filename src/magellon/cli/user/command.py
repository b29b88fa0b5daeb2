"""The commands `magellon user ...`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from magellon.cli.console import console, make_table, stderr
from magellon.errors import BadInput
from magellon.platform.people.roles import Role
from magellon.platform.store.home import Home

user_app = typer.Typer(no_args_is_help=True, help="Who may use this home: accounts, roles, tokens, access to sessions.")

HomeOption = Annotated[Path, typer.Option("--home", metavar="DIR", help="The server's home.")]
StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="Its state folder.", show_default="HOME/state")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="A site's PostgreSQL.", show_default="a file in the state folder"),
]
PasswordOption = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="Read the password from here; - is standard input.", show_default="ask for it"
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
SessionArgument = Annotated[str, typer.Argument(metavar="SESSION", help="The session's name.", show_default=False)]
_HOME = Path("~/magellon")


@user_app.command("add")
def add_user(
    name: NameArgument,
    role: Annotated[Role, typer.Option(help="viewer, operator or admin.")] = Role.VIEWER,
    password_file: PasswordOption = None,
    no_password: Annotated[bool, typer.Option("--no-password", help="Only tokens or OpenID Connect.")] = False,
    subject: Annotated[
        str | None, typer.Option(metavar="'ISSUER SUBJECT'", help="Their identity at the provider of OpenID Connect.")
    ] = None,
    home: HomeOption = _HOME,
    state: StateOption = None,
    database: DatabaseOption = None,
) -> None:
    """Make an account."""
    password = None if no_password or (subject and not password_file) else read_password(password_file)
    with _registry(home, state, database) as registry:
        registry.add(name, role, password, subject)
    console.print(f"{name} is {role}", markup=False)


@user_app.command("list")
def list_users(home: HomeOption = _HOME, state: StateOption = None, database: DatabaseOption = None) -> None:
    """Show all accounts."""
    table = make_table("name", "role", "logs in by", "state")
    with _registry(home, state, database) as registry:
        for each in registry.list_users():
            ways = [way for way, there in (("password", each["has_password"]), ("OpenID Connect", each["subject"])) if there]
            table.add_row(each["name"], each["role"], ", ".join(ways) or "token", "disabled" if each["disabled"] else "")
    console.print(table)


@user_app.command("role")
def change_role(
    name: NameArgument,
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="viewer, operator or admin.", show_default=False)],
    home: HomeOption = _HOME,
    state: StateOption = None,
    database: DatabaseOption = None,
) -> None:
    """Give an account another role; it counts at once."""
    with _registry(home, state, database) as registry:
        registry.change_role(name, role)
    console.print(f"{name} is {role}", markup=False)


@user_app.command("password")
def change_password(
    name: NameArgument,
    password_file: PasswordOption = None,
    home: HomeOption = _HOME,
    state: StateOption = None,
    database: DatabaseOption = None,
) -> None:
    """Set the password of an account, and end its logins."""
    password = read_password(password_file)
    with _registry(home, state, database) as registry:
        registry.change_password(name, password)
    console.print(f"{name} has a new password", markup=False)


@user_app.command("disable")
def disable_user(
    name: NameArgument, home: HomeOption = _HOME, state: StateOption = None, database: DatabaseOption = None
) -> None:
    """Lock an account out: its logins end, its tokens are revoked."""
    with _registry(home, state, database) as registry:
        registry.disable(name, True)
    console.print(f"{name} is disabled", markup=False)


@user_app.command("enable")
def enable_user(
    name: NameArgument, home: HomeOption = _HOME, state: StateOption = None, database: DatabaseOption = None
) -> None:
    """Let a disabled account in again; tokens that were revoked stay so."""
    with _registry(home, state, database) as registry:
        registry.disable(name, False)
    console.print(f"{name} is enabled", markup=False)


@user_app.command("token")
def issue_token(
    name: NameArgument,
    label: Annotated[str, typer.Option("--for", metavar="TEXT", help="What it is for.")] = "command line",
    days: Annotated[float, typer.Option(metavar="N", help="How long it is good.")] = 90.0,
    home: HomeOption = _HOME,
    state: StateOption = None,
    database: DatabaseOption = None,
) -> None:
    """Print a new token with the rights of an account. It is shown this once."""
    with _registry(home, state, database) as registry:
        token = registry.issue_token(name, label, days)
    print(token)  # noqa: T201


@user_app.command("give")
def give_session(
    name: NameArgument,
    session: SessionArgument,
    home: HomeOption = _HOME,
    state: StateOption = None,
    database: DatabaseOption = None,
) -> None:
    """Let a viewer see a session. Operators and admins see all."""
    with _registry(home, state, database) as registry:
        registry.give(name, session, True)
    console.print(f"{name} sees {session}", markup=False)


@user_app.command("withdraw")
def withdraw_session(
    name: NameArgument,
    session: SessionArgument,
    home: HomeOption = _HOME,
    state: StateOption = None,
    database: DatabaseOption = None,
) -> None:
    """The reverse of give."""
    with _registry(home, state, database) as registry:
        registry.give(name, session, False)
    console.print(f"{name} does not see {session} any more", markup=False)


def read_password(path: Path | None) -> str:
    """A password from a file, standard input or the terminal; never from the command line, which other users can read.

    Raises:
        BadInput: the file cannot be read, or there is no terminal to ask at.
    """
    if path == Path("-"):
        return sys.stdin.readline().rstrip("\r\n")
    if path is not None:
        try:
            return path.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"no password: {error}") from error
    if not sys.stdin.isatty():
        raise BadInput("there is no terminal to ask for the password at: give --password-file")
    from rich.prompt import Prompt

    password = Prompt.ask("password", password=True, console=stderr)
    if Prompt.ask("again", password=True, console=stderr) != password:
        raise BadInput("the two passwords differ")
    return password


def _registry(home: Path, state: Path | None, database: str | None) -> Any:
    from magellon.cli.user.registry import open_registry
    from magellon.platform.store.engines import find_database

    return open_registry(Home.at(home, state), find_database(database))
