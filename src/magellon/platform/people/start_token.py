"""The token printed when the server starts: whoever started it, or may read its state, is an administrator."""

import os
import stat
from pathlib import Path

from magellon.errors import BadInput
from magellon.platform.people.secret import PATTERN, make_secret
from magellon.platform.store.files import write_atomically

FILE = "token"


def renew_start_token(state: Path) -> str:
    """A new one for this start, in a file that only this user reads."""
    token = make_secret()
    write_atomically(state / FILE, f"{token}\n".encode(), mode=0o600)
    return token


def read_start_token(state: Path) -> str:
    """The token of the running server.

    Raises:
        BadInput: no server was started here, or others can read the file.
    """
    path = state / FILE
    try:
        with path.open() as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise BadInput(f"{path} can be read by others: chmod 600 it, or start the server again")
            token = file.read().strip()
    except OSError as error:
        raise BadInput(f"no token of a server: {error}") from error
    if not PATTERN.fullmatch(token):
        raise BadInput(f"{path} holds no token")
    return token
