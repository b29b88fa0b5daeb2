"""As many workers of its own as a plugin is to have, also after a restart."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from magellon.platform.bus.launching import ScaleRequest
from magellon.platform.launch.replicas import Replicas, locate_assignments
from magellon.platform.launch.supervisor import Program, Supervisor
from magellon.platform.store.home import Home

WORKER = Program("", [sys.executable, "-c", "import time; time.sleep(60)"], Path("logs"))


def ask(replicas: int | None) -> ScaleRequest:
    return ScaleRequest(plugin="acme", backends=("fft/acme",), replicas=replicas)


def test_workers_are_started_stopped_and_remembered(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()

    async def work() -> None:
        supervisor = Supervisor()
        replicas = Replicas(supervisor, home, WORKER)
        await replicas.restore()
        await replicas.scale(ask(2))
        pids = dict(supervisor.pids)
        assert set(pids) == {"acme-1", "acme-2"}
        await replicas.scale(ask(3))
        assert {name: supervisor.pids[name] for name in pids} == pids, "those that run go on"
        await replicas.scale(ask(1))
        assert set(supervisor.pids) == {"acme-1"}
        assert replicas.describe().replicas == {"acme": 1}
        await supervisor.stop()

        supervisor = Supervisor()
        replicas = Replicas(supervisor, home, WORKER)
        await replicas.restore()
        assert set(supervisor.pids) == {"acme-1"}
        await replicas.scale(ask(0))
        assert not supervisor.pids
        content = json.loads(locate_assignments(home).read_bytes())
        assert content == {"acme": {"replicas": 0, "backends": ["fft/acme"]}}, "general workers leave it alone"
        await replicas.scale(ask(None))
        assert json.loads(locate_assignments(home).read_bytes()) == {}
        locate_assignments(home).write_text("{")
        await replicas.restore()
        await supervisor.stop()

    asyncio.run(work())


@pytest.mark.parametrize(
    "change", [{"plugin": "../x"}, {"plugin": "-x"}, {"backends": ("fft/--x",)}, {"backends": ("a,b/c",)}, {"replicas": 65}]
)
def test_names_that_could_be_anything_else_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScaleRequest.model_validate({"plugin": "acme", "backends": ("fft/acme",), "replicas": 1, **change})
