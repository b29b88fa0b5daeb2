"""The real server, as Magellon starts it: what is published survives its death, and a task goes to one taker."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client

from magellon.contracts.task import Started
from magellon.platform.bus.configuration import BusAddress, find_nats_server, read_configuration, write_configuration
from magellon.platform.bus.connection import connect_bus, publish_durably
from magellon.platform.bus.pull import Puller
from magellon.platform.bus.streams import EVENTS, LEDGER_CONSUMER, TASKS, consumer_name, ensure_streams, ensure_task_consumer

Work = Callable[[BusAddress, Callable[[], None]], Awaitable[None]]


def with_bus(folder: Path, work: Work) -> None:
    configuration = folder / "bus" / "nats.conf"
    configuration.parent.mkdir()
    address = write_configuration(configuration)
    assert configuration.stat().st_mode & 0o777 == 0o600
    assert read_configuration(configuration) == address
    servers: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        argv = [str(find_nats_server()), "-c", str(configuration)]
        servers.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def restart() -> None:
        os.kill(servers[-1].pid, signal.SIGKILL)
        servers[-1].wait()
        start()

    start()
    try:
        asyncio.run(work(address, restart))  # type: ignore[arg-type]
    finally:
        servers[-1].kill()
        servers[-1].wait()


async def count_tasks_after_a_while(client: Client) -> int:
    """The server takes an acknowledged message out of the stream a moment after it has answered."""
    for _ in range(50):
        if (await client.jetstream().stream_info(TASKS)).state.messages == 0:
            return 0
        await asyncio.sleep(0.1)
    return (await client.jetstream().stream_info(TASKS)).state.messages


def event(number: int) -> Started:
    return Started(task=number, attempt=1, worker="w", incarnation="i")


@pytest.mark.slow
def test_messages_survive_the_server(tmp_path: Path) -> None:
    async def work(address: BusAddress, restart: Callable[[], None]) -> None:
        client = await connect_bus(address, "test")
        await ensure_streams(client)
        await ensure_streams(client)
        puller = Puller(client, EVENTS)
        assert await puller.take_many(LEDGER_CONSUMER, wait=0.1) == []
        for number in range(20):
            await publish_durably(client, "event.started", event(number), f"id{number}")
            await publish_durably(client, "event.started", event(number), f"id{number}")  # a repetition
        restart()
        await publish_durably(client, "event.started", event(20), "id20")  # repeated until the server is back
        numbers: set[int] = set()
        while len(numbers) < 21:  # what the dead server had delivered may come twice, which the ledger does not mind
            for message in await puller.take_many(LEDGER_CONSUMER, wait=0.5):
                numbers.add(Started.model_validate_json(message.data).task)
                await message.ack()
        assert numbers == set(range(21))
        while await puller.take_many(LEDGER_CONSUMER, wait=0.2):
            pass
        await client.close()

    with_bus(tmp_path, work)


def test_a_task_goes_to_one_taker(tmp_path: Path) -> None:
    async def work(address: BusAddress, restart: Callable[[], None]) -> None:
        client = await connect_bus(address, "test")
        await ensure_streams(client)
        pullers = [Puller(client, TASKS) for _ in range(2)]
        assert await pullers[0].take_now(consumer_name("fft", "fake"), 1) == [], "no consumer yet is nothing yet"
        await ensure_task_consumer(client, "fft", "fake")
        assert await pullers[0].take_now(consumer_name("fft", "fake"), 1) == []
        await publish_durably(client, "task.fft.fake", event(1), "a")
        taken = []
        while not taken:  # "nothing" may mean not yet
            taken = await pullers[0].take_now(consumer_name("fft", "fake"), 2)
        assert len(taken) == 1
        assert await pullers[1].take_now(consumer_name("fft", "fake"), 1) == []
        await taken[0].ack_sync()
        assert await count_tasks_after_a_while(client) == 0
        with pytest.raises(nats.errors.NoRespondersError):
            await client.request("api.hello", b"", timeout=1)
        await client.close()

    with_bus(tmp_path, work)


def test_the_token_is_asked_for(tmp_path: Path) -> None:
    async def work(address: BusAddress, restart: Callable[[], None]) -> None:
        await (await connect_bus(address, "right")).close()
        host, port = address.url.removeprefix("nats://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b'CONNECT {"auth_token": "wrong"}\r\nPING\r\n')
        assert (await reader.readline()).startswith(b"INFO")
        assert b"Authorization Violation" in await reader.readline()
        writer.close()
        await writer.wait_closed()

    with_bus(tmp_path, work)
