"""The command `magellon up`."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from magellon.cli.acquisition import collect_flags, make_option
from magellon.cli.console import console
from magellon.cli.device import device_option

if TYPE_CHECKING:
    from magellon.platform.launch.slurm import SlurmPlan
    from magellon.platform.up import Opened

WHERE, SITE, RUNNING, SLURM = "Home and address", "A site", "Running", "Workers by SLURM"


def _own_flags(
    home: Annotated[Path, typer.Option(metavar="DIR", help="Where results are kept.", rich_help_panel=WHERE)] = Path(
        "~/magellon"
    ),
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Ledger, bus, token; local disk.", rich_help_panel=WHERE, show_default="HOME/state"),
    ] = None,
    port: Annotated[int, typer.Option(metavar="N", help="0: any that is free.", rich_help_panel=WHERE)] = 8420,
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=WHERE)] = "127.0.0.1",
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Sessions must lie in it; may be repeated.",
            rich_help_panel=WHERE,
            show_default="any folder, on loopback",
        ),
    ] = None,
    nats: Annotated[
        str | None, typer.Option(metavar="URL", help="A NATS server or cluster.", rich_help_panel=SITE, show_default="our own")
    ] = None,
    nats_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Whom its certificate is signed by.", rich_help_panel=SITE)
    ] = None,
    nats_credentials: Annotated[
        Path | None, typer.Option(metavar="FILE", help="How it lets us in.", rich_help_panel=SITE)
    ] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="PostgreSQL.", rich_help_panel=SITE, show_default="a file in the state")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tasks at a time; 0: none here.", rich_help_panel=RUNNING, show_default="one per core"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads per task.", rich_help_panel=RUNNING)] = 1,
    device: Annotated[str, device_option(RUNNING)] = "auto",
) -> None: ...


def _slurm_flags(
    launcher: Annotated[
        Literal["local", "slurm"], typer.Option(help="Where workers come from.", rich_help_panel=SLURM)
    ] = "local",
    slurm_pilots: Annotated[int, typer.Option(min=1, metavar="N", help="Batch jobs at a time.", rich_help_panel=SLURM)] = 4,
    slurm_cpus: Annotated[int, typer.Option(min=1, metavar="N", help="Cores of each.", rich_help_panel=SLURM)] = 8,
    slurm_gpus: Annotated[int, typer.Option(min=0, metavar="N", help="GPUs of each.", rich_help_panel=SLURM)] = 0,
    slurm_memory: Annotated[str | None, make_option("Memory of each, such as 32G.", SLURM, "SIZE", "--slurm-memory")] = None,
    slurm_minutes: Annotated[int, typer.Option(min=2, metavar="N", help="Time limit of each.", rich_help_panel=SLURM)] = 240,
    slurm_margin: Annotated[
        float, typer.Option(min=1, metavar="S", help="Before it, no more tasks are taken.", rich_help_panel=SLURM)
    ] = 300.0,
    slurm_idle: Annotated[
        float, typer.Option(min=1, metavar="S", help="Without a task, a batch job ends.", rich_help_panel=SLURM)
    ] = 120.0,
    slurm_partition: Annotated[str | None, make_option("Of sbatch.", SLURM, "NAME", "--slurm-partition")] = None,
    slurm_account: Annotated[str | None, make_option("Of sbatch.", SLURM, "NAME", "--slurm-account")] = None,
    slurm_qos: Annotated[str | None, make_option("Of sbatch.", SLURM, "NAME", "--slurm-qos")] = None,
    slurm_constraint: Annotated[str | None, make_option("Of sbatch.", SLURM, "TEXT", "--slurm-constraint")] = None,
    slurm_plugins: Annotated[
        str, make_option("Categories or category/name, by commas.", SLURM, "NAMES", "--slurm-plugins", default="all")
    ] = "",
    slurm_root: Annotated[
        list[str] | None, make_option("Where a data root lies on the nodes.", SLURM, "NAME=DIR", "--slurm-root")
    ] = None,
    slurm_variable: Annotated[
        list[str] | None,
        make_option("An environment variable they get, too; no secret.", SLURM, "NAME", "--slurm-variable"),
    ] = None,
) -> None: ...


def serve_home(**values: Any) -> None:
    """Start the server and keep it running: sessions are submitted and followed over HTTP.

    It prints its address and how to log in. Ctrl-C ends it; started again, it goes on where it was.
    """
    from magellon.platform.up import UpOptions, serve_home

    names = ("home", "state", "host", "port", "database", "workers", "threads", "device")
    options = UpOptions(
        **{name: values[name] for name in names},
        data=tuple(values["data"] or ()),
        bus=values["nats"],
        bus_ca=values["nats_ca"],
        bus_credentials=values["nats_credentials"],
        slurm=plan_pilots(values) if values["launcher"] == "slurm" else None,
    )
    serve_home(options, greet)


def plan_pilots(values: Mapping[str, Any]) -> "SlurmPlan":
    """What `--slurm-*` say."""
    from magellon.platform.launch.slurm import DEFAULT_VARIABLES, SlurmPlan

    given = {name.removeprefix("slurm_"): value for name, value in values.items() if name.startswith("slurm_")}
    variables = (*DEFAULT_VARIABLES, *(given.pop("variable", None) or ()))
    return SlurmPlan(most=given.pop("pilots"), roots=tuple(given.pop("root") or ()), variables=variables, **given)


def greet(opened: "Opened") -> None:
    """Say where it is. The token itself is shown to a person at a terminal only: what is redirected may be read by others."""
    console.print(f"Magellon answers at {opened.url}", markup=False, soft_wrap=True)
    if console.is_terminal:
        console.print(f"Log in with the token {opened.token}", markup=False, soft_wrap=True)
    console.print(f"The token of this start is in {opened.token_file}; Ctrl-C ends the server.", markup=False, soft_wrap=True)
    console.file.flush()


serve_home.__signature__ = inspect.Signature(collect_flags(_own_flags, _slurm_flags))  # type: ignore[attr-defined]
