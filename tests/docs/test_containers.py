"""The container files agree with the code. They are not built here: that needs a container engine."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from examples import ROOT

from magellon.cli import app
from magellon.platform.pipeline.catalogue import list_backends

yaml = pytest.importorskip("yaml")
CONTAINERS = ROOT / "containers"


def read_services() -> dict[str, Any]:
    return dict(yaml.safe_load((CONTAINERS / "compose.yaml").read_text())["services"])


def parse(words: list[str]) -> dict[str, Any]:
    """The command line as typer reads it; raises when it would refuse it."""
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    return dict(command.make_context(words[0], list(words[1:])).params)


def test_commands_are_ours_and_workers_serve_every_backend() -> None:
    ours = {name: service for name, service in read_services().items() if service["image"] == "magellon"}
    assert set(ours) >= {"server", "motioncor", "ctf"}
    served: list[str] = []
    for service in ours.values():
        given = parse(service["command"])
        assert str(given["home"]) == "/data"
        assert given["nats_credentials"] == Path("/run/secrets/nats_token")
        if service["command"][0] == "worker":
            served += given["plugins"].split(",")
    backends = list_backends()
    for name in served:
        assert name in backends or name in {key.split("/")[0] for key in backends}, name
    assert [key for key in backends if not {key, key.split("/")[0]} & set(served)] == []
    assert len(served) == len(set(served))


def test_secrets_are_files_and_never_in_commands_or_variables() -> None:
    whole = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
    used = {secret for service in whole["services"].values() for secret in service.get("secrets", ())}
    assert used == set(whole["secrets"])
    assert all(set(secret) == {"file"} for secret in whole["secrets"].values())
    for service in whole["services"].values():
        for name in service.get("environment", {}):
            assert not re.search("PASSWORD|TOKEN|SECRET", name) or name.endswith("_FILE"), name


def test_the_image_is_made_of_what_there_is() -> None:
    text = (CONTAINERS / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    torch = re.search(r"torch==\S+", (ROOT / "Makefile").read_text())
    assert torch
    assert torch.group(0) in text
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {"!src", "!pyproject.toml", "!README.md", "!LICENSE"} <= set(ignored)
