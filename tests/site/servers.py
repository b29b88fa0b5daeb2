"""NATS servers of a site: with TLS and credentials, one or a cluster of three."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from authority import Authority

from magellon.platform.bus.configuration import find_free_port, find_nats_server


@dataclass
class NatsServer:
    folder: Path
    port: int
    configuration: str
    prefix: tuple[str, ...] = ()
    _process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "nats.conf").write_text(self.configuration)
        with open(self.folder / "log", "ab") as output:
            argv = [*self.prefix, str(find_nats_server()), "-c", str(self.folder / "nats.conf")]
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass(frozen=True)
class Place:
    """Where a server listens."""

    folder: Path
    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


def make_server(place: Place, authority: Authority, access: str, routes: Sequence[int] = (), number: int = 0) -> NatsServer:
    """`access`: the `authorization` or `accounts` part of the configuration. `routes`: ports of a cluster's members."""
    port = find_free_port()
    certificate, key = authority.issue(f"nats-{place.folder.name}-{number}", place.host)
    cluster = ""
    if routes:
        others = ", ".join(f'"nats://{place.host}:{each}"' for each in routes)
        cluster = f'cluster {{ name: site, host: "{place.host}", port: {routes[number]}, routes: [{others}] }}\n'
    text = f"""
host: "{place.host}"
port: {port}
server_name: site{number}
max_payload: 8MB
tls {{ cert_file: {json.dumps(str(certificate))}, key_file: {json.dumps(str(key))}, timeout: 5 }}
jetstream {{ store_dir: {json.dumps(str(place.folder / f"store{number}"))}, sync_interval: "2s", max_file_store: 1GB }}
{access}
{cluster}"""
    return NatsServer(place.folder / f"server{number}", port, text, place.prefix)
