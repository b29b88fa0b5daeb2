"""The commands `magellon plugin ...`."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from magellon.cli.console import console, stderr
from magellon.cli.plugin.tables import print_plugin, print_plugins
from magellon.errors import BadInput

if TYPE_CHECKING:
    from magellon.platform.store.home import Home

app = typer.Typer(help="Plugins: install, choose, start and stop.", no_args_is_help=True, add_completion=False)

_FOLLOW_INTERVAL = 0.5

HomeOption = Annotated[Path, typer.Option("--home", metavar="DIR", help="Where results are kept.")]
StateOption = Annotated[Path | None, typer.Option("--state", metavar="DIR", help="Ledger and bus.", show_default="HOME/state")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A plugin.")]
TargetArgument = Annotated[str, typer.Argument(metavar="NAME", help="A plugin, or CATEGORY/BACKEND.")]
DEFAULT_HOME = Path("~/magellon")


def _open_home(home: Path, state: Path | None) -> "Home":
    from magellon.platform.store.home import Home

    return Home.at(home, state)


def _ask(home: Path, state: Path | None, **request: Any) -> Any:
    from magellon.platform.asking import ask_about_plugins
    from magellon.platform.server.plugins import PluginRequest

    return ask_about_plugins(_open_home(home, state), PluginRequest(**request))


def _find_plugin(plugins: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for plugin in plugins:
        if plugin["name"] == name:
            return plugin
    raise BadInput(f"there is no plugin {name!r} (there are {', '.join(plugin['name'] for plugin in plugins)})")


@app.command("install")
def install(
    target: Annotated[
        str, typer.Argument(metavar="NAME|PATH", help="A package's name, perhaps with ==VERSION; a path; or topaz.")
    ],
    share: Annotated[
        bool, typer.Option("--share", help="Let it see Magellon's own packages (torch, scipy) instead of bringing them.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="All that pip says.")] = False,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Install a plugin into an environment of its own; or another version of it in the place of the one that is there.

    pip runs with its own configuration (pip.conf, PIP_INDEX_URL ...). Workers that run notice the plugin within seconds.
    """
    from magellon.platform.launch.installing import Wish, install_plugin

    place = _open_home(home, None).plugins
    with stderr.status("installing") as status:

        def say(line: str) -> None:
            if verbose:
                stderr.print(line, markup=False, highlight=False)
            elif line.strip():
                status.update(f"[dim]{_shorten(line)}[/dim]")

        environment = install_plugin(place, Wish(target, share), say)
    backends = ", ".join(environment.backends)
    console.print(f"{environment.distribution} is installed in {place}: {backends}", markup=False, soft_wrap=True)


def _shorten(line: str) -> str:
    from rich.markup import escape

    return escape(line.strip()[: max(console.width - 6, 20)])


@app.command("remove")
def remove(
    name: NameArgument,
    force: Annotated[bool, typer.Option("--force", help="Even if jobs still need it; their tasks wait then.")] = False,
    home: HomeOption = DEFAULT_HOME,
    state: StateOption = None,
) -> None:
    """Remove a plugin that was installed into an environment of its own. Its results stay."""
    from magellon.platform.launch.installing import normalise_name, remove_plugin
    from magellon.platform.store.environments import list_environments

    place = _open_home(home, state).plugins
    there = normalise_name(name) in {environment.name for environment in list_environments(place)}
    needed = _ask(home, state, do="count", target=normalise_name(name)) if there and not force else 0
    if needed:
        raise BadInput(f"{needed} tasks of jobs in work need {name}: cancel them, choose another backend for them, or --force")
    remove_plugin(place, name)
    console.print(f"{name} is removed from {place}", markup=False, soft_wrap=True)


@app.command("list")
def list_plugins(home: HomeOption = DEFAULT_HOME, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Which plugins and backends there are, which are their category's default, and how they are."""
    plugins = _ask(home, state, do="list")
    if as_json:
        print(json.dumps(plugins, indent=1, ensure_ascii=False))  # noqa: T201
    else:
        print_plugins(plugins)


@app.command("show")
def show(name: NameArgument, home: HomeOption = DEFAULT_HOME, state: StateOption = None, as_json: JsonOption = False) -> None:
    """One plugin: where it is, its backends, its workers, how often they were restarted and why."""
    plugin = _find_plugin(_ask(home, state, do="list"), name)
    if as_json:
        print(json.dumps(plugin, indent=1, ensure_ascii=False))  # noqa: T201
    else:
        print_plugin(plugin)


@app.command("enable")
def enable(target: TargetArgument, home: HomeOption = DEFAULT_HOME, state: StateOption = None) -> None:
    """Let recipes use it again."""
    console.print("enabled:", ", ".join(_ask(home, state, do="enable", target=target)), markup=False, soft_wrap=True)


@app.command("disable")
def disable(target: TargetArgument, home: HomeOption = DEFAULT_HOME, state: StateOption = None) -> None:
    """Refuse recipes that use it. Jobs that use it already go on."""
    console.print("disabled:", ", ".join(_ask(home, state, do="disable", target=target)), markup=False, soft_wrap=True)


@app.command("default")
def choose_default(
    category: Annotated[str, typer.Argument(metavar="CATEGORY")],
    backend: Annotated[str, typer.Argument(metavar="BACKEND")],
    home: HomeOption = DEFAULT_HOME,
    state: StateOption = None,
) -> None:
    """What a step of the category takes where its recipe names no backend. Jobs keep the one they began with."""
    _ask(home, state, do="prefer", target=f"{category}/{backend}")
    console.print(f"{category} takes {backend} where a recipe names none", markup=False, soft_wrap=True)


@app.command("start")
def start(name: NameArgument, home: HomeOption = DEFAULT_HOME, state: StateOption = None) -> None:
    """Have a stopped plugin run again, by the general workers; or try its own workers again that were given up."""
    print_plugin(_ask(home, state, do="start", target=name))


@app.command("stop")
def stop(name: NameArgument, home: HomeOption = DEFAULT_HOME, state: StateOption = None) -> None:
    """Have no worker run it. What is at work is given back; its tasks wait."""
    print_plugin(_ask(home, state, do="stop", target=name))


@app.command("scale")
def scale(
    name: NameArgument,
    replicas: Annotated[int, typer.Argument(metavar="REPLICAS", min=0, max=64, help="Workers of its own.")],
    home: HomeOption = DEFAULT_HOME,
    state: StateOption = None,
) -> None:
    """Give a plugin workers of its own, each for one task at a time. `start` after `stop` hands it back to the general ones."""
    print_plugin(_ask(home, state, do="scale", target=name, replicas=replicas))


@app.command("logs")
def show_logs(
    name: NameArgument,
    source: Annotated[
        str | None, typer.Option(metavar="FILE", help="Which of its logs; an unknown one lists them.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    home: HomeOption = DEFAULT_HOME,
    state: StateOption = None,
) -> None:
    """The end of the log of its workers."""
    after: int | None = None
    while True:
        piece = _ask(home, state, do="log", target=name, source=source, after=after)
        for line in piece["lines"]:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        moved, after = after != piece["next"], piece["next"]
        if not follow:
            break
        if not moved:
            time.sleep(_FOLLOW_INTERVAL)
