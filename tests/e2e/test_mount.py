"""A worker that does not see the server's files does not start."""

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest
from fake_session import RECIPE, make_session, use_fake_backends

from magellon.errors import BadInput
from magellon.platform.bus.connection import connect_bus
from magellon.platform.launch.local import LocalPlan, Running, run_locally
from magellon.platform.process import ask_server
from magellon.platform.store.home import Home


async def start_worker(home: Path, state: Path, *more: str) -> tuple[int, str]:
    """Status and messages of a worker that ends by itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "magellon.platform.worker", "--home", str(home), "--state", str(state), "--name", "other",
        "--slots", "1", *more, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:  # it works and stays
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def submit(running: Running, folder: Path) -> None:
    import tomllib

    client = await connect_bus(running.address, "test")
    try:
        await ask_server(client, "api.submit", json.dumps({"folder": str(folder), "recipe": tomllib.loads(RECIPE)}).encode())
    finally:
        await client.close()


@pytest.mark.slow
def test_wrong_mounts_are_refused_and_a_second_supervisor_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")
    use_fake_backends(tmp_path / "diary")
    session = make_session(tmp_path / "lot", {"a": "fine"})
    copy = shutil.copytree(session, tmp_path / "copy")
    other = make_session(tmp_path / "other", {"a": "something else"})
    home = Home.at(tmp_path / "home")
    stranger = Home.at(tmp_path / "stranger")
    stranger.prepare()

    async def work() -> None:
        async with run_locally(home, LocalPlan(slots=1, beat=0.3)) as running:
            await submit(running, session)
            status, said = await start_worker(stranger.root, home.state)
            assert status == 78
            assert "does not see the server's home" in said
            status, said = await start_worker(home.root, home.state, "--root", f"lot={other}")
            assert status == 78
            assert "is not the file the server sees" in said
            status, said = await start_worker(home.root, home.state, "--root", f"lot={tmp_path}")
            assert status == 78
            assert "wrong mount" in said
            with pytest.raises(TimeoutError):  # the same files at another place are welcome: it starts and stays
                await asyncio.wait_for(start_worker(home.root, home.state, "--root", f"lot={copy}"), 3)
            with pytest.raises(BadInput, match="another magellon"):
                async with run_locally(home, LocalPlan(slots=1)):
                    pass

    asyncio.run(work())
    assert (home.bus_configuration.stat().st_mode & 0o777) == 0o600
