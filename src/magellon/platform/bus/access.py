"""Being let in by a site's NATS servers: certificates and credentials, from files or the environment, never from arguments."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magellon.errors import BadInput
from magellon.platform.bus.configuration import BusAddress

URL_VARIABLE, TOKEN_VARIABLE = "MAGELLON_NATS", "MAGELLON_NATS_TOKEN"
CREDENTIALS_VARIABLE, CA_VARIABLE = "MAGELLON_NATS_CREDENTIALS", "MAGELLON_NATS_CA"


def find_bus(
    url: str | None, ca: Path | None = None, credentials: Path | None = None, environment: Mapping[str, str] = os.environ
) -> BusAddress | None:
    """A site's bus from options or the environment; None when there is none.

    Raises:
        BadInput: an address that cannot be one, or that holds a secret.
    """
    text = url or environment.get(URL_VARIABLE)
    if not text:
        return None
    given = credentials or environment.get(CREDENTIALS_VARIABLE)
    authority = ca or environment.get(CA_VARIABLE)
    address = BusAddress(
        text,
        token=environment.get(TOKEN_VARIABLE),
        ca=str(Path(authority).resolve()) if authority else None,
        credentials=str(Path(given).resolve()) if given else None,
    )
    for server in address.servers:
        scheme, _, place = server.partition("://")
        if scheme not in ("nats", "tls") or not place:
            raise BadInput(f"--nats {server}: it looks like nats://host:4222 or tls://host:4222")
        if "@" in place:
            raise BadInput(
                "--nats: no user, password or token in the address, it shows in process lists; see --nats-credentials"
            )
    list_access(address)
    return address


def list_access(address: BusAddress) -> dict[str, Any]:
    """What `nats.aio.client.Client.connect` is told.

    A file with credentials holds one of: what `nsc` writes (`.creds`), the seed of a user's nkey (`SU...`), `user:password`,
    or a token.

    Raises:
        BadInput: a file cannot be read, or everybody can read it.
    """
    options: dict[str, Any] = {}
    if address.secure:
        options["tls"] = _trust(address.ca)
    if address.token:
        options["token"] = address.token
    if address.credentials:
        options.update(_read_credentials(Path(address.credentials)))
    return options


def _trust(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(f"--nats-ca {ca}: no certificates can be read from it: {error}") from error


def _read_credentials(path: Path) -> dict[str, Any]:
    try:
        mode, text = path.stat().st_mode, path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--nats-credentials {path}: {error}") from error
    if mode & 0o007:
        raise BadInput(f"--nats-credentials {path}: others can read it (mode {mode & 0o777:o}); chmod 600 {path}")
    if "BEGIN NATS USER JWT" in text:
        return {"user_credentials": str(path)}
    if not text or "\n" in text:
        raise BadInput(f"--nats-credentials {path}: it holds no .creds, no seed, no user:password and no token")
    if text.startswith("SU") and text.isalnum() and len(text) == 58:
        return {"nkeys_seed_str": text}
    user, colon, password = text.partition(":")
    return {"user": user, "password": password} if colon else {"token": text}
