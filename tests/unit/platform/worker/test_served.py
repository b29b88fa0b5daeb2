"""A worker serves what is installed, what it was started for, and not what has workers of its own."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from magellon.platform.store.environments import Environment
from magellon.platform.worker.children import Children, PythonFinder
from magellon.platform.worker.served import Served


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    write_manifest(tmp_path, "acme", "fft/acme", "particle_picking/acme")
    return tmp_path


def write_manifest(plugins: Path, name: str, *backends: str) -> None:
    environment = Environment(name=name, version="1", source=name, folder=f"plugin-{name}", backends=backends)
    (plugins / f"{name}.json").write_text(environment.model_dump_json())


def test_backends_are_run_by_the_python_of_their_environment(plugins: Path) -> None:
    finder = PythonFinder(plugins)
    assert finder.find("fft", "fft") == sys.executable
    assert finder.find("fft", "acme") == str(plugins / "environments/plugin-acme/bin/python")
    assert finder.find("fft", "nobody") == sys.executable


def test_plugins_come_and_go_while_a_worker_runs(plugins: Path) -> None:
    served = Served(PythonFinder(plugins))
    assert {"fft/fft", "fft/acme"} <= set(served.list_backends())
    assert "fft/zeta" not in served.list_backends()
    write_manifest(plugins, "zeta", "fft/zeta")
    os.utime(plugins, ns=(1, 1))
    assert "fft/zeta" in served.list_backends()
    (plugins / "acme.json").unlink()
    os.utime(plugins, ns=(2, 2))
    assert "fft/acme" not in served.list_backends()


def test_a_worker_for_some_serves_these(plugins: Path) -> None:
    finder = PythonFinder(plugins)
    assert Served(finder, ("acme",)).list_backends() == ("fft/acme", "particle_picking/acme")
    assert Served(finder, ("fft",)).list_backends() == ("fft/acme", "fft/fft")
    assert Served(finder, ("fft/acme",)).list_backends() == ("fft/acme",)
    own = Served(finder, ("magellon",)).list_backends()
    assert "fft/fft" in own
    assert "fft/acme" not in own
    assert Served(finder, ("nobody",)).list_backends() == ()


def test_what_has_workers_of_its_own_is_left_to_them(plugins: Path, tmp_path: Path) -> None:
    file = tmp_path / "replicas.json"
    served = Served(PythonFinder(plugins), (), file)
    assert "fft/acme" in served.list_backends()
    file.write_text(json.dumps({"acme": {"replicas": 0, "backends": ["fft/acme"]}}))
    assert "fft/acme" not in served.list_backends()
    assert "particle_picking/acme" in served.list_backends()
    file.write_text("{")
    os.utime(file, ns=(5, 5))
    assert "fft/acme" not in served.list_backends(), "a damaged file changes nothing"
    file.unlink()
    assert "fft/acme" in served.list_backends()


def test_few_children_wait_and_none_of_a_plugin_that_is_gone(plugins: Path) -> None:
    for number in range(5):
        write_manifest(plugins, f"p{number}", f"fft/p{number}")
    finder = PythonFinder(plugins)
    pythons = [finder.find("fft", f"p{number}") for number in range(5)]

    async def work() -> None:
        async with Children(finder) as children:
            taken = [await children._take(python) for python in pythons]
            assert list(children._children) == pythons[1:]
            assert await children._take(pythons[1]) is taken[1]
            (plugins / "p2.json").unlink()
            os.utime(plugins, ns=(3, 3))
            await children._take(pythons[3])
            assert set(children._children) == {pythons[number] for number in (1, 3, 4)}

    asyncio.run(work())
