"""The command `magellon worker`: computes on this machine for a server on another."""

import inspect
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from magellon.cli.acquisition import collect_flags, make_option
from magellon.cli.device import device_option
from magellon.platform.bus.access import URL_VARIABLE

SITE, WORK, END = "The site", "What it does", "When it leaves"


def _worker_flags(
    home: Annotated[
        Path, typer.Option(metavar="DIR", help="The server's home, as this machine sees it.", rich_help_panel=SITE)
    ],
    nats: Annotated[
        str | None, make_option("The site's bus, or MAGELLON_NATS; several of a cluster by commas.", SITE, "URL", "--nats")
    ] = None,
    nats_ca: Annotated[
        Path | None, make_option("Certificates that vouch for it, or MAGELLON_NATS_CA.", SITE, "FILE", "--nats-ca")
    ] = None,
    nats_credentials: Annotated[
        Path | None,
        make_option("What it asks for, or MAGELLON_NATS_CREDENTIALS.", SITE, "FILE", "--nats-credentials"),
    ] = None,
    root: Annotated[
        list[str] | None, make_option("Where a data root lies on this machine; may be repeated.", SITE, "NAME=DIR", "--root")
    ] = None,
    plugins: Annotated[
        str, make_option("Plugins, categories or category/name, by commas.", WORK, "NAMES", "--plugins", default="all")
    ] = "",
    slots: Annotated[int | None, make_option("Tasks at a time.", WORK, "N", "--slots", default="one per core")] = None,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads per task.", rich_help_panel=WORK)] = 1,
    device: Annotated[str, device_option(WORK)] = "auto",
    name: Annotated[
        str | None, make_option("Of this worker; no two have the same.", WORK, "NAME", "--name", default="machine and process")
    ] = None,
    idle_exit: Annotated[
        float | None, make_option("After so many seconds without a task.", END, "S", "--idle-exit", default="never")
    ] = None,
    max_age: Annotated[
        float | None, make_option("Take no task when so many seconds old.", END, "S", "--max-age", default="never")
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, metavar="S", help="To finish tasks; the rest is handed back.", rich_help_panel=END)
    ] = 30.0,
) -> None: ...


def run_worker(**values: Any) -> None:
    """Compute on this machine for a server on another, with which it shares the home and the movies.

    It does not start where it sees other files than the server (status 78). SIGTERM lets it finish, SIGTERM again ends it at
    once; nothing is lost either way.
    """
    from magellon.platform.worker.__main__ import main

    raise typer.Exit(main(list_arguments(values, os.environ)))


def list_arguments(values: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Arguments of `python -m magellon.platform.worker`."""
    name = clean_name(values["name"] or default_name(environment))
    home = Path(values["home"]).expanduser().resolve()
    slots = values["slots"] or max(1, count_cores(environment) // values["threads"])
    arguments = ["--home", str(home), "--state", str(home / "workers" / name), "--name", name, "--slots", str(slots)]
    given = {**values, "nats": values["nats"] or environment.get(URL_VARIABLE)}
    for key in ("threads", "device", "grace", "nats", "nats_ca", "nats_credentials", "idle_exit", "max_age"):
        if given[key] is not None:
            arguments += [f"--{key.replace('_', '-')}", str(given[key])]
    if values["plugins"]:
        arguments += ["--backends", values["plugins"]]
    for each in values["root"] or ():
        arguments += ["--root", each]
    return arguments


def default_name(environment: Mapping[str, str]) -> str:
    job = environment.get("SLURM_JOB_ID")
    return f"slurm-{job}" if job else f"{socket.gethostname()}-{os.getpid()}"


def clean_name(text: str) -> str:
    """A name that can be a word in the bus's subjects and a folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "worker"


def count_cores(environment: Mapping[str, str]) -> int:
    """Those given to this process; SLURM says so even where it does not bind processes to them."""
    given = environment.get("SLURM_CPUS_PER_TASK", "")
    return int(given) if given.isdecimal() else len(os.sched_getaffinity(0))


run_worker.__signature__ = inspect.Signature(collect_flags(_worker_flags))  # type: ignore[attr-defined]
