"""Plugins in environments of their own: installed without a network, run beside our backends, watched, scaled, given up."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine import Run, assert_no_debris
from fake_session import RECIPE, make_session, use_fake_backends
from nats.aio.client import Client

from local_wheels import copy_installed, write_plugin, write_tinydep, write_wheel
from magellon.errors import BadInput
from magellon.platform.bus.connection import connect_bus
from magellon.platform.launch import supervisor
from magellon.platform.launch.installing import Wish, install_plugin
from magellon.platform.launch.local import LocalPlan, run_locally
from magellon.platform.server.policy import Policy
from magellon.platform.store.environments import list_environments, locate_environment, locate_python
from magellon.platform.store.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PYDANTIC = ("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that pip may find: two plugins that want different versions of one package, of which one also wants a numpy that we
    could not work with."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in PYDANTIC:
        copy_installed(folder, name)
    for name in ("numpy", "pillow", "tifffile", "imagecodecs"):  # installed, never imported by these plugins
        write_wheel(folder, name, "0.0.1", {})
    for version in ("1.0", "2.0"):
        write_tinydep(folder, version)
    write_plugin(folder, "acme", ["magellon", "tinydep==1.0", "numpy==0.0.1"])
    write_plugin(folder, "zeta", ["magellon", "tinydep==2.0"])
    write_plugin(folder, "broken", ["magellon"])  # imports tinydep and does not say so
    write_wheel(folder, "useless", "1.0", {"useless.py": ""})
    return folder


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")
    use_fake_backends(tmp_path / "diary")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugins folder to fill once."""
    return tmp_path_factory.mktemp("plugins")


def install(plugins: Path, target: str, shared: bool = False) -> list[str]:
    """What was said on the way."""
    said: list[str] = []
    install_plugin(plugins, Wish(target, shared), said.append)
    return said


def test_plugins_with_conflicting_dependencies_run_beside_ours(
    plugins: Path, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAGELLON_PLUGINS", str(plugins))
    said = install(plugins, "acme-plugin")
    assert any("acme" in line for line in said)
    install(plugins, str(wheels / "zeta_plugin-1.0-py3-none-any.whl"), shared=True)
    acme, zeta = list_environments(plugins)
    assert (acme.name, acme.backends, acme.shared) == ("acme-plugin", ("fft/acme",), False)
    assert (zeta.name, zeta.backends, zeta.shared) == ("zeta-plugin", ("fft/zeta",), True)
    assert not list(locate_environment(plugins, acme).rglob("torch*")), "nothing of ours is there twice"

    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'{RECIPE}\n[steps.one]\ncategory = "fft"\nbackend = "acme"\n[steps.two]\ncategory = "fft"\nbackend = "zeta"\n'
    )
    session = make_session(tmp_path / "lot", {"a": "fine", "b": "fine"})
    run = Run(session, tmp_path / "home", recipe)
    run.start()
    summary = run.finish()
    assert summary["ok"], summary
    assert not summary["failures"]
    texts = sorted(path.read_text() for path in (tmp_path / "home" / "results").glob("??/*/*_fft.png"))
    assert texts == ["a", *["acme with tinydep 1.0, torch False"] * 2, "b", *["zeta with tinydep 2.0, torch False"] * 2]
    assert_no_debris(tmp_path / "home")


def test_what_cannot_work_is_refused_and_leaves_nothing(plugins: Path, wheels: Path, tmp_path: Path) -> None:
    before = list_environments(plugins)
    folders = {locate_environment(plugins, each).name for each in before}
    with pytest.raises(BadInput, match=r"broken-plugin: fft/broken cannot be used: ModuleNotFoundError.*dependencies"):
        install(plugins, "broken-plugin")
    with pytest.raises(BadInput, match="useless brings no backend"):
        install(plugins, "useless", shared=True)
    with pytest.raises(BadInput, match="No matching distribution"):
        install(plugins, "not-there-at-all", shared=True)
    if before:
        (tmp_path / "more").mkdir()
        source = write_plugin(tmp_path / "more", "acme", ["tinydep"])
        thief = source.with_name("thief_plugin-1.0-py3-none-any.whl")
        files = {"thief_plugin.py": "", "thief_plugin-1.0.dist-info/entry_points.txt": "[magellon.backends]\nfft.acme = x:X\n"}
        write_wheel(tmp_path / "more", "thief-plugin", "1.0", files)
        with pytest.raises(BadInput, match="brings fft/acme, which the plugin acme-plugin brings already"):
            install(plugins, str(thief), shared=True)
    assert list_environments(plugins) == before
    assert {path.name for path in (plugins / "environments").iterdir()} == folders


async def wait_for(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: never"
        await asyncio.sleep(0.1)


class Engine:
    """Asks the server as the command line does."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, **request: Any) -> Any:
        message = await self._client.request("api.plugins", json.dumps(request).encode(), timeout=60)
        reply = json.loads(message.data)
        if "refused" in reply:
            raise BadInput(reply["refused"])
        return reply["answer"]

    async def find(self, name: str) -> dict[str, Any]:
        return next(plugin for plugin in await self.ask(do="list") if plugin["name"] == name)

    async def wait_until(self, name: str, words: str, seconds: float = 60) -> dict[str, Any]:
        """Until the reason why a plugin is not healthy holds these words; "" for one that is."""

        async def look() -> dict[str, Any] | None:
            plugin = await self.find(name)
            return plugin if (words in plugin["reason"] if words else plugin["healthy"]) else None

        return dict(await wait_for(look, f"{name}: {words or 'healthy'}", seconds))


def test_workers_of_a_plugin_are_started_scaled_watched_and_given_up(
    plugins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not list_environments(plugins):
        install(plugins, "zeta-plugin", shared=True)
    monkeypatch.setenv("MAGELLON_PLUGINS", str(plugins))
    monkeypatch.setattr(supervisor, "_GIVE_UP_AFTER", 3)
    home = Home.at(tmp_path / "home")
    policy = Policy(beat_interval=0.3, lost_after=2).model_dump_json()

    async def work() -> None:
        plan = LocalPlan(slots=1, beat=0.3, policy=policy, replicas=True)
        async with run_locally(home, plan) as running:
            client = await connect_bus(running.address, "test")
            engine = Engine(client)
            try:
                await wait_for(lambda: _is_up(client), "the server")
                await _manage(engine, plugins)
            finally:
                await client.close()
        async with run_locally(home, plan) as running:  # what was said holds after a restart
            client = await connect_bus(running.address, "test")
            try:
                await wait_for(lambda: _is_up(client), "the server")
                assert (await Engine(client).find("zeta-plugin"))["replicas"] == 1
            finally:
                await client.close()

    asyncio.run(work())
    assert not [process for process in psutil.process_iter() if str(home.root) in " ".join(_command(process))]


async def _is_up(client: Client) -> bool:
    try:
        await client.request("api.plugins", b'{"do": "list"}', timeout=20)
    except Exception:  # noqa: BLE001 - not yet
        return False
    return True


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


async def _manage(engine: Engine, plugins: Path) -> None:
    plugin = await engine.wait_until("zeta-plugin", "")
    assert plugin["replicas"] is None
    assert [worker["name"] for worker in plugin["workers"]] == ["local"], "the general worker runs it"

    plugin = await engine.ask(do="scale", target="zeta-plugin", replicas=2)
    assert [program["name"] for program in plugin["programs"]] == ["zeta-plugin-1", "zeta-plugin-2"]

    async def have(*names: str) -> Any:
        plugin = await engine.find("zeta-plugin")
        return plugin["healthy"] and [worker["name"] for worker in plugin["workers"]] == list(names)

    await wait_for(lambda: have("zeta-plugin-1", "zeta-plugin-2"), "workers of its own, and the general one no more")
    piece = await engine.ask(do="log", target="zeta-plugin")
    assert any("zeta-plugin-1 serves fft/zeta" in line for line in piece["lines"])
    await engine.ask(do="scale", target="zeta-plugin", replicas=1)
    await wait_for(lambda: have("zeta-plugin-1"), "one less, which said good-bye")

    [program] = (await engine.find("zeta-plugin"))["programs"]
    psutil.Process(program["pid"]).suspend()  # it lives, and says nothing
    plugin = await engine.wait_until("zeta-plugin", "worker zeta-plugin-1 fell silent", 30)
    assert plugin["workers"][0]["lost"]
    psutil.Process(program["pid"]).kill()
    await wait_for(lambda: have("zeta-plugin-1"), "started again")
    assert (await engine.find("zeta-plugin"))["programs"][0]["restarts"] == 1

    await engine.ask(do="stop", target="zeta-plugin")
    await engine.wait_until("zeta-plugin", "stopped")
    await engine.ask(do="start", target="zeta-plugin")
    await wait_for(lambda: have("local"), "the general worker again")

    with pytest.raises(BadInput, match="no plugin or backend"):
        await engine.ask(do="disable", target="fft/none")
    await engine.ask(do="disable", target="zeta-plugin")
    assert [backend["reason"] for backend in (await engine.find("zeta-plugin"))["backends"]] == ["disabled"]
    await engine.ask(do="enable", target="zeta-plugin")
    with pytest.raises(BadInput, match="less than or equal to 64"):
        await engine.ask(do="scale", target="zeta-plugin", replicas=65)

    environment = next(each for each in list_environments(plugins) if each.name == "zeta-plugin")
    python = locate_python(plugins, environment)
    target = os.readlink(python)
    python.unlink()
    python.write_text("#!/bin/sh\necho no GPU in this machine >&2\nexit 3\n")
    python.chmod(0o755)
    try:
        await engine.ask(do="scale", target="zeta-plugin", replicas=1)
        plugin = await engine.wait_until("zeta-plugin", "was given up")
        assert "ended with status 3: no GPU in this machine" in plugin["reason"]
        assert plugin["programs"][0]["restarts"] == 2
        piece = await engine.ask(do="log", target="zeta-plugin")
        assert any("no GPU in this machine" in line for line in piece["lines"])
    finally:
        python.unlink()
        python.symlink_to(target)
    await engine.ask(do="start", target="zeta-plugin")
    await wait_for(lambda: have("zeta-plugin-1"), "tried again")
