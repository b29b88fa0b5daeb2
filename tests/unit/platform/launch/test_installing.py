"""What may be installed, what is refused, and that a failure leaves what was there."""

import json
from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.platform.launch import installing
from magellon.platform.launch.building import CORE
from magellon.platform.launch.installing import Wish, check_target, install_plugin, normalise_name, remove_plugin
from magellon.platform.store.environments import (
    Environment,
    isolate_variables,
    list_environments,
    locate_environment,
    locate_python,
)


@pytest.mark.parametrize("target", ["acme-picker", "acme.picker==1.2", "acme[gpu]>=1,<2", "Acme_Picker~=1.0"])
def test_names_with_versions_are_targets(target: str) -> None:
    assert check_target(target) == target


@pytest.mark.parametrize(
    "target",
    ["--index-url=http://evil", "-e.", "git+https://evil/x", "https://evil/x.whl", "acme; os.system('x')", "acme @ file:///x",
     "a b", "", "../nowhere", "acme\n--pre", "x" * 300],
)  # fmt: skip
def test_options_addresses_and_what_is_not_there_are_refused(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput):
        check_target(target)


def test_paths_must_be_packages_and_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "-r").mkdir()
    with pytest.raises(BadInput, match=r"no pyproject\.toml"):
        check_target(str(tmp_path / "-r"))
    (tmp_path / "-r" / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert check_target("-r") == str(tmp_path / "-r"), "never looks like an option"
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BadInput, match="neither a package's folder nor an archive"):
        check_target("notes.txt")


@pytest.mark.parametrize("name", ["../etc", "a/b", "-x", ".json", ""])
def test_a_name_that_is_none_reaches_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        remove_plugin(tmp_path, name)
    assert normalise_name("Acme_Picker.X") == "acme-picker-x"


def write_manifest(plugins: Path, name: str, folder: str, **more: object) -> Environment:
    environment = Environment(
        name=name, version="1.0", source=name, folder=folder, backends=("fft/acme",), **more,  # type: ignore[arg-type]
    )  # fmt: skip
    (plugins / "environments" / folder / "bin").mkdir(parents=True)
    (plugins / f"{name}.json").write_text(environment.model_dump_json())
    return environment


def test_a_failed_installation_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_manifest(tmp_path, "acme", "old")
    (tmp_path / "environments" / "crashed").mkdir()  # of an installation that was killed

    def build(folder: Path, shared: bool, say: object) -> None:
        folder.mkdir()

    def fail(folder: Path, target: str, say: object) -> tuple[str, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(installing, "build_environment", build)
    monkeypatch.setattr(installing, "install_package", fail)
    with pytest.raises(KeyboardInterrupt):
        install_plugin(tmp_path, Wish("acme"), lambda line: None)
    assert list_environments(tmp_path) == [before]
    assert [path.name for path in (tmp_path / "environments").iterdir()] == ["old"]


def test_removing_removes_manifest_and_environment(tmp_path: Path) -> None:
    environment = write_manifest(tmp_path, "acme", "some")
    with pytest.raises(BadInput, match="no plugin 'other'"):
        remove_plugin(tmp_path, "other")
    remove_plugin(tmp_path, "Acme")
    assert list_environments(tmp_path) == []
    assert not locate_environment(tmp_path, environment).exists()


def test_damaged_manifests_are_left_out(tmp_path: Path) -> None:
    good = write_manifest(tmp_path, "acme", "some")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text(good.model_dump_json())  # says it is acme
    (tmp_path / "evil.json").write_text(json.dumps({**good.model_dump(mode="json"), "name": "evil", "folder": "../../x"}))
    assert list_environments(tmp_path) == [good]


def test_a_plugins_python_gets_no_other_packages(tmp_path: Path) -> None:
    environment = write_manifest(tmp_path, "acme", "some")
    python = locate_python(tmp_path, environment)
    variables = isolate_variables({"PYTHONPATH": "/mine", "PATH": "/bin", "MAGELLON_EXTRA_BACKENDS": "x", "CUDA": "0"}, python)
    assert "PYTHONPATH" not in variables
    assert "MAGELLON_EXTRA_BACKENDS" not in variables
    assert variables["PATH"].split(":")[0] == str(python.parent)
    assert variables["CUDA"] == "0"


def test_the_core_is_what_a_plugin_needs_of_us() -> None:
    """Contracts, readers and the child import nothing else of other people's packages."""
    import re
    import subprocess
    import sys

    modules = ["magellon.backends.child", "magellon.backends.describe", "magellon.io.mrc", "magellon.io.star",
               "magellon.io.picture", "magellon.io.tiff", "magellon.io.tiff_movie", "magellon.io.eer"]  # fmt: skip
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names) - {"magellon"}
    loaded = {name for name in loaded if not name.startswith(("_", "cython")) and name != "sitecustomize"}
    core = {re.split(r"[^a-z-]", each)[0] for each in CORE} | {"PIL", "pydantic_core", "annotated_types", "typing_extensions"}
    assert loaded - core <= {"typing_inspection", "mypy_extensions"}
