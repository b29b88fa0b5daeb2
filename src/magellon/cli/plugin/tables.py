"""Plugins in a terminal."""

from typing import Any

from rich.markup import escape

from magellon.cli.console import console, make_table


def print_plugins(plugins: list[dict[str, Any]]) -> None:
    """A line for each plugin, and below it one for each backend."""
    for plugin in plugins:
        console.print(f"{plugin['name']} {plugin['version']}", style="bold", end="  ", markup=False)
        console.print(f"environment: {plugin['environment']}", style="dim", markup=False)
        table = make_table()
        table.show_header = False
        for backend in plugin["backends"]:
            mark = "default" if backend["preferred"] else ""
            table.add_row(f"  {backend['key']}", mark, escape(_say_state(backend)))
        console.print(table)


def _say_state(backend: dict[str, Any]) -> str:
    return backend["reason"] or "healthy"


def print_plugin(plugin: dict[str, Any]) -> None:
    """One plugin with its backends and workers."""
    console.print(f"{plugin['name']} {plugin['version']}", style="bold", markup=False)
    console.print(f"  environment  {plugin['environment']}", markup=False)
    if plugin["source"]:
        console.print(f"  installed    from {plugin['source']}", markup=False, soft_wrap=True)
    count = plugin["replicas"]
    console.print(f"  workers      {'the general ones' if count is None else f'{count} of its own'}", markup=False)
    for backend in plugin["backends"]:
        mark = " (default)" if backend["preferred"] else ""
        console.print(f"  {backend['key']}{mark}: {_say_state(backend)}", markup=False, soft_wrap=True)
    for worker in plugin["workers"]:
        said = (
            f"silent for {worker['silent_for']:.0f} s" if worker["lost"] else f"{worker['running']} of {worker['slots']} busy"
        )
        console.print(f"  worker {worker['name']} on {worker['host']}: {said}", markup=False, soft_wrap=True)
    for program in plugin["programs"]:
        why = f": {program['reason']}" if program["reason"] else ""
        console.print(
            f"  process {program['name']}: {program['condition']}, {program['restarts']} restarts{why}",
            markup=False,
            soft_wrap=True,
        )
