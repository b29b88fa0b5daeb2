"""`magellon process`: a session folder processed to its end in the foreground, by an engine started for it."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from magellon.errors import BadInput, Cancelled
from magellon.platform.bus.connection import BUS_ERRORS, connect_bus
from magellon.platform.launch.local import LocalPlan, run_locally
from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.pipeline.recipe import change_recipe, list_wanted, read_recipe
from magellon.platform.server.policy import Policy
from magellon.platform.server.report import Progress, Summary
from magellon.platform.server.submitting import Submission, check_submission
from magellon.platform.sessions.definition import Acquisition
from magellon.platform.store.home import DEFAULT_HOME, Home


@dataclass(frozen=True)
class ProcessOptions:
    """What a person may say to `magellon process`."""

    home: Path = DEFAULT_HOME
    state: Path | None = None
    recipe: Path | None = None
    settings: tuple[str, ...] = ()
    """`step.param=value`."""
    workers: int | None = None
    """Tasks at a time; left out, one for each core."""
    threads: int = 1
    device: str = "auto"
    acquisition: Acquisition | None = None
    """For a plain folder of movies, or to overrule its `session.json`."""
    policy: Policy = field(default_factory=Policy)


Listener = Callable[[Progress], None]


def process_session(folder: Path, options: ProcessOptions | None = None, listen: Listener | None = None) -> Summary:
    """Process a session folder to its end; interrupted and called again, it continues.

    `listen` is called a few times a second with counts per step. SIGINT and SIGTERM stop everything that was started.

    Raises:
        BadInput: folder, recipe, setting or home cannot be used; nothing has run then.
        Cancelled: interrupted by a signal.
        Transient: the engine cannot be kept running.
    """
    return asyncio.run(_process_until_signal(folder, options or ProcessOptions(), listen or (lambda progress: None)))


async def _process_until_signal(folder: Path, options: ProcessOptions, listen: Listener) -> Summary:
    working = asyncio.create_task(process_folder(folder, options, listen))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, working.cancel)
    try:
        return await working
    except asyncio.CancelledError:
        raise Cancelled(f"interrupted; the same command continues where {folder} was left") from None


async def process_folder(folder: Path, options: ProcessOptions, listen: Listener) -> Summary:
    """The same for those who have an event loop; stopped by cancelling it."""
    home = Home.at(options.home, options.state)
    home.prepare()
    recipe = change_recipe(read_recipe(options.recipe), options.settings)
    submission = Submission(
        folder=str(folder.resolve()), recipe=recipe, acquisition=options.acquisition, request=secrets.token_hex(8)
    )
    catalogue = await asyncio.to_thread(read_catalogue, home.catalogue, list_wanted(recipe))
    check_submission(submission, catalogue)
    slots = options.workers or len(os.sched_getaffinity(0))
    if slots < 1:
        raise BadInput(f"--workers {slots}: must be at least 1")
    plan = LocalPlan(
        slots=slots,
        threads=options.threads,
        device=options.device,
        policy=options.policy.model_dump_json(),
        beat=options.policy.beat_interval,
    )
    async with run_locally(home, plan) as running:
        client = await connect_bus(running.address, "foreground")
        try:
            follow = asyncio.create_task(_follow(client, submission, listen))
            failure = asyncio.create_task(running.supervisor.wait_for_failure())
            done, left = await asyncio.wait({follow, failure}, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            if failure in done:
                failure.result()
            return follow.result()
        finally:
            await client.close()


async def _follow(client: Client, submission: Submission, listen: Listener) -> Summary:
    settled = asyncio.Event()
    job: list[int] = []

    async def hear(message: Msg) -> None:
        progress = Progress.model_validate_json(message.data)
        if job and progress.job == job[0]:
            listen(progress)
            if progress.settled:
                settled.set()

    await client.subscribe("progress.*", cb=hear)
    job.append(int(await ask_server(client, "api.submit", submission.model_dump_json().encode())))
    await settled.wait()
    answer = await ask_server(client, "api.summary", json.dumps({"job": job[0]}).encode())
    return Summary.model_validate(answer)


async def ask_server(client: Client, subject: str, request: bytes) -> Any:
    """Ask the server until it answers: it may be starting, or starting again; every request can be repeated.

    Raises:
        BadInput: it refuses.
    """
    while True:
        try:
            answer = json.loads((await client.request(subject, request, timeout=5)).data)
        except BUS_ERRORS:
            await asyncio.sleep(0.1)
            continue
        if "refused" in answer:
            raise BadInput(answer["refused"])
        return answer["answer"]
