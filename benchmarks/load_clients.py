"""`python -m benchmarks.load_clients URL TOKEN_FILE REPORT`: people who look at a server, until standard input ends.

Each of them asks for the pages of the interface in turn and reads what comes for a second or so; some follow the live stream.
One more asks every 50 ms for the page that costs nothing, which shows how long the server's loop is held by something else.
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

CLIENTS, STREAMS = 20, 20
SEED = 5
_PAUSE = (0.5, 1.5)
_PROBE = 0.05
PAGES = {
    "jobs": "/jobs",
    "job": "/jobs/1",
    "sessions": "/sessions",
    "tasks": "/tasks?job=1&limit=100",
    "completed tasks": "/tasks?job=1&state=completed&limit=100",
    "tasks of a step": "/tasks?job=1&step=fft3&state=pending&limit=100",
    "task": "/tasks/7",
    "micrographs": "/sessions/1/micrographs?limit=100",
    "micrographs by defocus": "/sessions/1/micrographs?sort=-defocus&limit=100",
    "filtered": "/sessions/1/micrographs?defocus.min=8000&defocus.max=20000&resolution.max=5&sort=total_motion&limit=100",
    "histogram": "/sessions/1/histograms?metric=defocus&bins=40",
    "all histograms": "/sessions/1/histograms",
    "micrograph": "/micrographs/5",
}
PROBE = "health"


@dataclass
class Crowd:
    """What all of them measured."""

    host: str
    port: int
    token: str
    answers: list[tuple[float, str, int, float]] = field(default_factory=list)
    """Moment (seconds since 1970), page, status, milliseconds."""
    events: int = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port, limit=1 << 24)

    def write_request(self, path: str) -> bytes:
        return f"GET /api/v1{path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, page: str, path: str) -> None:
        """One page, its whole answer read."""
        moment, start = time.time(), time.perf_counter()
        writer.write(self.write_request(path))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        if lines.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(size + 2)
            await reader.readexactly(2)
        else:
            await reader.readexactly(int(lines.get("content-length", "0")))
        self.answers.append((moment, page, int(head.split()[1]), 1000 * (time.perf_counter() - start)))

    async def look_around(self, chance: random.Random) -> None:
        """One person; comes back when the connection is lost."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await self.connect()
                while True:
                    page = chance.choice(list(PAGES))
                    await self.ask(reader, writer, page, PAGES[page])
                    await asyncio.sleep(chance.uniform(*_PAUSE))
            await asyncio.sleep(1)

    async def probe(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await self.connect()
                while True:
                    await self.ask(reader, writer, PROBE, "/health")
                    await asyncio.sleep(_PROBE)
            await asyncio.sleep(1)

    async def follow(self) -> None:
        """The live stream, as the interface keeps it open."""
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await self.connect()
                writer.write(self.write_request("/events"))
                while part := await reader.read(1 << 16):
                    self.events += part.count(b"\nid: ") + part.startswith(b"id: ")
            await asyncio.sleep(1)


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("token_file", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--streams", type=int, default=STREAMS)
    options = parser.parse_args()
    host, _, port = options.url.rpartition("/")[2].rpartition(":")
    crowd = Crowd(host, int(port), options.token_file.read_text().strip())
    people = [asyncio.create_task(crowd.look_around(random.Random(SEED + number))) for number in range(options.clients)]
    people += [asyncio.create_task(crowd.follow()) for _ in range(options.streams)]
    people.append(asyncio.create_task(crowd.probe()))
    await asyncio.to_thread(sys.stdin.read)
    for person in people:
        person.cancel()
    options.report.write_text(json.dumps({"answers": crowd.answers, "events": crowd.events}))
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
