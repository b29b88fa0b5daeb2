"""Backends come in by one door, and are described without being imported by those who ask."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fake_backends
from magellon.backends.describe import describe_installed
from magellon.backends.registry import Installed, find_backends, import_backend, load_backend
from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.pipeline.catalogue import list_backends, map_pythons, read_catalogue
from magellon.platform.store.environments import CataloguePlace, Environment


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGELLON_EXTRA_BACKENDS", fake_backends.ALL)
    monkeypatch.setenv("PYTHONPATH", str(Path(fake_backends.__file__).parent))


@pytest.mark.usefixtures("extra")
def test_extra_backends_are_found_beside_the_installed_ones() -> None:
    keys = {(installed.category, installed.name) for installed in find_backends()}
    assert {("fft", "fake"), ("fft", "fft"), ("motion_correction", "motioncor")} <= keys
    assert load_backend("fft", "fake") is fake_backends.FakeFft
    with pytest.raises(BadInput, match="no backend fft/none"):
        load_backend("fft", "none")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("fake_backends:write", "is not a magellon.contracts.Backend"),
        ("fake_backends:FakeCtf", "is ctf_estimation/fake, its entry point says fft/fake"),
        ("fake_backends:Absent", "is not a magellon.contracts.Backend"),
    ],
)
def test_entry_points_that_say_something_wrong_are_refused(target: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        import_backend(Installed("fft", "fake", target, ""))


def test_a_backend_that_cannot_be_imported_says_why() -> None:
    description = describe_installed(Installed("fft", "broken", "no_such_module:X", "acme 1.0"))
    assert description.error == "ModuleNotFoundError: No module named 'no_such_module'"
    assert description.key == "fft/broken"


@pytest.mark.usefixtures("extra")
def test_descriptions_are_one_line_each_and_only_those_asked_for() -> None:
    argv = [sys.executable, "-m", "magellon.backends.describe", "fft/fake", "fft/naughty"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=dict(os.environ))
    descriptions = [Description.model_validate_json(line) for line in done.stdout.splitlines()]
    assert [description.key for description in descriptions] == ["fft/fake", "fft/naughty"]
    assert descriptions[0].summary == "Writes a name where a picture should be."
    assert descriptions[0].defaults == {"seconds": 0.0, "salt": 0, "diameter": None, "reference": None}


@pytest.mark.usefixtures("extra")
def test_the_catalogue_is_cached_until_a_package_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "backends.json"
    place = CataloguePlace(cache)
    assert "fft/fake" in list_backends()
    first = read_catalogue(place, ["fft/fake"])
    assert list(first) == ["fft/fake"]
    monkeypatch.setattr(sys, "executable", "/nowhere/python")  # a second description would fail
    assert read_catalogue(place, ["fft/fake"]) == first
    cache.write_text("{not json")
    with pytest.raises(BadInput, match="cannot be described"):
        read_catalogue(place, ["fft/fake"])


def test_a_broken_plugin_takes_only_its_own_backends_down(tmp_path: Path) -> None:
    environment = Environment(name="acme", version="1", source="acme", folder="plugin-1", backends=("fft/acme", "fft/fft"))
    (tmp_path / "acme.json").write_text(environment.model_dump_json())
    place = CataloguePlace(tmp_path / "cache", tmp_path)
    assert "fft/acme" in list_backends(tmp_path)
    found = read_catalogue(place, ["fft/acme"])
    assert "plugin-1 is broken: backends cannot be described" in (found["fft/acme"].error or "")
    assert found["fft/acme"].distribution == "acme 1"
    assert map_pythons(tmp_path)["fft/fft"] == sys.executable, "of two backends of one name, Magellon's own wins"
    assert "fft/acme" not in (tmp_path / "cache").read_text(), "what is repaired is seen at the next look"
