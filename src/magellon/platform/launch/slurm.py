"""Pilots: batch jobs of SLURM that are workers, as many as the queue of tasks asks for. Never one batch job per task.

What a person gives goes into argument lists; the batch script has no variable part, and no shell sees a name.
"""

import asyncio
import hashlib
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from pydantic import Field, model_validator

from magellon.contracts import Record
from magellon.errors import BadInput, Transient
from magellon.platform.bus.configuration import BusAddress
from magellon.platform.launch.launcher import DemandSource
from magellon.platform.store.files import write_atomically
from magellon.platform.store.home import Home

log = logging.getLogger("magellon.slurm")

_SCRIPT = b'#!/bin/sh\nexec "$@"\n'
_TIMEOUT = 30.0
_LONGEST_DELAY = 300.0
_ENDED = ("COMPLETING", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY", "BOOT_FAIL")
DEFAULT_VARIABLES = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")
_WORD = r"^[A-Za-z0-9_.,:=&|!*@/+-]*$"


class SlurmPlan(Record):
    """What a pilot is and how many there may be. Times in seconds unless they say otherwise."""

    most: int = Field(4, ge=1)
    """Pilots at a time, those that wait in SLURM's queue included."""
    least: int = Field(0, ge=0)
    """Pilots kept also when there is nothing to do."""
    minutes: int = Field(240, ge=2)
    """Time limit of a pilot."""
    margin: float = Field(300.0, gt=0)
    """This long before its limit a pilot takes no more tasks; longer than the longest task, or that is computed twice."""
    idle: float = Field(120.0, gt=0)
    """A pilot without a task for so long ends."""
    cpus: int = Field(8, ge=1)
    threads: int = Field(1, ge=1)
    """Per task."""
    slots: int | None = Field(None, ge=1)
    """Tasks at a time in a pilot; left out, one for each GPU, or as many as its cores can."""
    gpus: int = Field(0, ge=0)
    memory: str | None = Field(None, pattern=r"^\d+[KMGT]?$")
    partition: str | None = Field(None, pattern=_WORD)
    account: str | None = Field(None, pattern=_WORD)
    qos: str | None = Field(None, pattern=_WORD)
    constraint: str | None = Field(None, pattern=_WORD)
    plugins: str = ""
    roots: tuple[str, ...] = ()
    """`NAME=DIR` of data roots that lie elsewhere on the nodes."""
    interval: float = Field(10.0, gt=0)
    """Between looks at the queue."""
    variables: tuple[str, ...] = DEFAULT_VARIABLES
    """Names of environment variables that pilots get; no secrets, SLURM keeps them on disk."""

    @model_validator(mode="after")
    def _check_margin(self) -> "SlurmPlan":
        if self.margin > self.minutes * 30:
            raise ValueError(f"margin {self.margin:g} s: more than half of the time limit of {self.minutes} minutes")
        return self

    @property
    def tasks_at_a_time(self) -> int:
        return self.slots or self.gpus or max(1, self.cpus // self.threads)

    @property
    def max_age(self) -> float:
        """Age at which a pilot begins to drain."""
        return self.minutes * 60 - self.margin

    @property
    def grace(self) -> float:
        """What a draining pilot has for the tasks it is at; the rest of the margin is for handing back."""
        return self.margin * 0.8


@dataclass(frozen=True)
class Pilot:
    """A batch job of ours."""

    job: str
    state: str
    age: float
    """Seconds since it began to run; 0 while it waits."""


@dataclass(frozen=True)
class Change:
    """What to ask of SLURM."""

    start: int = 0
    cancel: tuple[str, ...] = ()


def decide_change(demand: int, pilots: Sequence[Pilot], plan: SlurmPlan) -> Change:
    """How many pilots to start, or which of those that wait in SLURM's queue to give up.

    A pilot that runs is never ended for being too many: it ends by itself when it finds no task. One that drains counts for
    nothing, so that its successor is there in time.
    """
    wanted = min(plan.most, max(plan.least, ceil(demand / plan.tasks_at_a_time)))
    working = [pilot for pilot in pilots if pilot.age < plan.max_age]
    missing = wanted - len(working)
    if missing >= 0:
        return Change(start=missing)
    waiting = [pilot.job for pilot in working if pilot.state == "PENDING"]
    return Change(cancel=tuple(waiting[missing:]))


@dataclass
class SlurmLauncher:
    """Keeps as many pilots as there is work for."""

    home: Home
    plan: SlurmPlan
    bus: BusAddress
    name: str
    """Of all its batch jobs; another home has another."""
    environment: Mapping[str, str]
    """Of SLURM's programs, and so of the pilots."""

    @property
    def plugins(self) -> str:
        return self.plan.plugins

    async def keep(self, demand: DemandSource) -> None:
        """As `Launcher.keep`."""
        delay = self.plan.interval
        while True:
            try:
                number = await demand()
                if number is not None:
                    await self._adjust(number)
                delay = self.plan.interval
            except Transient as error:
                log.warning("%s; next try in %.0f s", error, delay)
                delay = min(2 * delay, _LONGEST_DELAY)
            await asyncio.sleep(delay)

    async def stop(self) -> None:
        """As `Launcher.stop`: SLURM sends SIGTERM, upon which pilots drain."""
        pilots = await self.list_pilots()
        if pilots:
            log.info("takes back %d pilots", len(pilots))
            await self._call("scancel", *(pilot.job for pilot in pilots))

    async def list_pilots(self) -> list[Pilot]:
        """Those that wait or run, the oldest first.

        Raises:
            Transient: SLURM does not answer.
        """
        output = await self._call("squeue", "--noheader", "--me", f"--name={self.name}", "--format=%i|%T|%M")
        fields = [line.strip().split("|") for line in output.splitlines() if line.count("|") == 2]
        found = [Pilot(job, state, read_elapsed(elapsed)) for job, state, elapsed in fields if state not in _ENDED]
        return sorted(found, key=lambda pilot: (len(pilot.job), pilot.job))

    async def _adjust(self, demand: int) -> None:
        change = decide_change(demand, await self.list_pilots(), self.plan)
        if change.cancel:
            log.info("%d tasks: gives up %d waiting pilots", demand, len(change.cancel))
            await self._call("scancel", "--state=PENDING", *change.cancel)
        for _ in range(change.start):
            job = await self._call("sbatch", *self.list_arguments())
            log.info("%d tasks: pilot %s", demand, job.strip())

    def list_arguments(self) -> list[str]:
        """Of sbatch: what the batch job may use, then the worker's command line."""
        plan, folder = self.plan, self.home.root / "workers"
        folder.mkdir(exist_ok=True)
        script = self.home.state / "pilot.sh"
        write_atomically(script, _SCRIPT, 0o600)
        asked = [
            "--parsable", f"--job-name={self.name}", "--nodes=1", "--ntasks=1", f"--cpus-per-task={plan.cpus}",
            f"--time={plan.minutes}", "--no-requeue", "--open-mode=append", f"--output={folder}/pilot-%j.log",
            f"--chdir={self.home.root}", "--export=ALL",
        ]  # fmt: skip
        named = {
            "mem": plan.memory, "partition": plan.partition, "account": plan.account, "qos": plan.qos,
            "constraint": plan.constraint, "gres": f"gpu:{plan.gpus}" if plan.gpus else None,
        }  # fmt: skip
        asked += [f"--{option}={value}" for option, value in named.items() if value]
        return [*asked, str(script), *self._list_worker_arguments()]

    def _list_worker_arguments(self) -> list[str]:
        plan = self.plan
        arguments = [sys.executable, "-m", "magellon", "worker", "--home", str(self.home.root), "--nats", self.bus.url]
        if self.bus.ca:
            arguments += ["--nats-ca", self.bus.ca]
        if self.bus.credentials:
            arguments += ["--nats-credentials", self.bus.credentials]
        if plan.plugins:
            arguments += ["--plugins", plan.plugins]
        for root in plan.roots:
            arguments += ["--root", root]
        arguments += ["--slots", str(plan.tasks_at_a_time), "--threads", str(plan.threads)]
        arguments += ["--device", "cuda" if plan.gpus else "cpu"]
        return [*arguments, "--idle-exit", f"{plan.idle:g}", "--max-age", f"{plan.max_age:g}", "--grace", f"{plan.grace:g}"]

    async def _call(self, program: str, *arguments: str) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                program, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, env=self.environment,
            )  # fmt: skip
        except OSError as error:
            raise Transient(f"{program}: {error.strerror}") from error
        try:
            async with asyncio.timeout(_TIMEOUT):
                output, said = await process.communicate()
        except BaseException as error:
            process.kill()
            await process.wait()
            if isinstance(error, TimeoutError):
                raise Transient(f"{program} does not answer") from error
            raise
        if process.returncode:
            raise Transient(f"{program}: {said.decode(errors='replace').strip() or process.returncode}")
        return output.decode()


def read_elapsed(text: str) -> float:
    """Seconds of SLURM's `[days-]hours:minutes:seconds`; 0 for anything else, as what has not begun."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if not found:
        return 0.0
    days, hours, minutes, seconds = (int(number or 0) for number in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def make_launcher(home: Home, plan: SlurmPlan, bus: BusAddress | None) -> SlurmLauncher:
    """The launcher of a home.

    Raises:
        BadInput: pilots could not reach the bus.
    """
    if bus is None:
        raise BadInput("--launcher slurm needs --nats: a bus that the cluster's nodes can reach")
    if bus.token:
        raise BadInput("pilots get the bus's credentials by a file: give --nats-credentials instead of MAGELLON_NATS_TOKEN")
    kept = {name: value for name, value in os.environ.items() if name in plan.variables or name.startswith("SLURM_")}
    mark = hashlib.sha256(home.token_file.read_bytes()).hexdigest()[:12]
    return SlurmLauncher(home, plan, bus, f"magellon-{mark}", kept)
