"""Plugins that come with Magellon, and what a plugin asks of its installation."""

from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.platform.launch import installing
from magellon.platform.launch.bundled import Demands, locate_bundled, read_demands
from magellon.platform.launch.installing import Wish, install_plugin


def test_topaz_comes_with_magellon() -> None:
    folder = locate_bundled("topaz")
    assert read_demands(folder) == Demands(share=True, without_dependencies=("topaz-em==0.3.20",))
    for other in ("acme-picker==1.2", "./topaz", "../bundled/topaz", ""):
        assert locate_bundled(other) == other


def test_other_targets_ask_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "acme"\n')
    assert read_demands(str(tmp_path)) == read_demands("acme-picker") == Demands()


@pytest.mark.parametrize(
    "table",
    ['share = "yes"', "shared = true", 'without-dependencies = "acme==1"', 'without-dependencies = ["acme>=1"]',
     'without-dependencies = ["--index-url=http://evil"]', "without-dependencies = [1]", "share = "],
)  # fmt: skip
def test_anything_else_is_refused_with_the_file(table: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.magellon]\n{table}\n")
    with pytest.raises(BadInput, match=r"pyproject\.toml"):
        read_demands(str(tmp_path))


def test_the_installation_does_as_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def build(folder: Path, shared: bool, say: object) -> None:
        folder.mkdir()
        seen.append(shared)

    def install(folder: Path, target: str, say: object) -> tuple[str, str]:
        seen.append(Path(target).name)
        return "magellon-topaz", "1.0"

    def install_alone(folder: Path, packages: tuple[str, ...], say: object) -> None:
        seen.append(packages)
        raise BadInput("far enough")

    for each in (("build_environment", build), ("install_package", install), ("install_alone", install_alone)):
        monkeypatch.setattr(installing, *each)
    with pytest.raises(BadInput, match="far enough"):
        install_plugin(tmp_path, Wish("topaz"), lambda line: None)
    assert seen == [True, "topaz", ("topaz-em==0.3.20",)]
    assert list((tmp_path / "environments").iterdir()) == [], "a failure leaves nothing"
