"""`magellon export`: what lands in the folder, what is linked to, and what is left alone."""

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from exported_session import make_home
from magellon.cli import app
from magellon.cli.export.delivery import RECORD, Export, check_target, deliver_export, find_tree, remove_entry
from magellon.contracts import SessionExportOutput
from magellon.errors import BadInput
from magellon.io.star import read_star


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def snapshot(folder: Path) -> dict[str, bytes | str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file())
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes() for path in files
    }


def test_a_whole_export(tmp_path: Path) -> None:
    """The one that starts a child: written, linked, recorded, the same again, and nothing left lying about."""
    home, out = tmp_path / "home", tmp_path / "project"
    make_home(home, held=True)
    result = run("grid7", "--to", "relion", "--home", home, "--out", out, "--where", "ctf_resolution<=8")
    assert result.exit_code == 0, result.output
    assert "2 micrographs and 5 particles" in result.output
    assert "left out: 1 micrographs and 4 particles" in result.output
    particles = read_star(out / "Extract" / "job005" / "particles.star")["particles"]
    stack = out / particles.texts("rlnImageName")[0].partition("@")[2]
    assert stack.is_symlink()
    assert stack.resolve() == (home / "sessions" / "grid7" / "particle_extraction" / "m_1.mrcs").resolve()
    assert (out / "movies" / "m_1.tiff").resolve() == tmp_path / "home_data" / "m_1_frames.tiff"
    record = json.loads((out / RECORD).read_text())
    assert (record["session"], record["to"], record["micrographs"], record["particles"]) == ("grid7", "relion", 2, 5)
    assert [path.name for path in out.iterdir() if path.name.startswith(".") and path.is_file()] == [".gui_projectdir"]
    assert not list(out.glob(".exporting-*"))
    first = snapshot(out)
    assert run("grid7", "--to", "relion", "--home", home, "--out", out).exit_code == 1
    assert snapshot(out) == first
    again = run("grid7", "--to", "relion", "--home", home, "--out", out, "--where", "ctf_resolution<=8", "--overwrite")
    assert again.exit_code == 0, again.output
    assert snapshot(out) == first


def test_a_failure_leaves_no_folder(tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    out = tmp_path / "new"
    result = run("grid7", "--to", "cryosparc", "--home", tmp_path / "home", "--out", out, "--where", "ctf_resolution<=1")
    assert isinstance(result.exception, BadInput)
    assert "none of 3 micrographs is left" in str(result.exception)
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["grid8", "--to", "relion"], "no session 'grid8'; there are grid7"),
        (["../grid7", "--to", "relion"], "no session '../grid7'"),
        (["grid7", "--to", "eman"], "no backend 'eman'; there are cryosparc, relion"),
        (["grid7", "--to", "relion", "--classes", "1,x"], "--classes '1,x'"),
        (["grid7", "--to", "relion", "--particles-are", "dark"], "has no such parameter"),
        (["grid7", "--to", "cryosparc", "--particles-are", "grey"], "particles_are"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_done(tmp_path: Path, arguments: list[str], words: str) -> None:
    make_home(tmp_path / "home")
    result = run(*arguments, "--home", tmp_path / "home", "--out", tmp_path / "out")
    assert isinstance(result.exception, BadInput), result.output
    assert words in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_home_without_sessions_is_said(tmp_path: Path) -> None:
    result = run("grid7", "--to", "relion", "--home", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert "there is none" in str(result.exception)
    assert not (tmp_path / "nowhere").exists()


def make_output(folder: Path, links: dict[str, str]) -> SessionExportOutput:
    """What a backend would have written."""
    project = folder / "project"
    for name in ("default_pipeline.star", "Extract/job005/particles.star"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    (folder / "links.json").write_text(json.dumps(links))
    return SessionExportOutput(
        project=project, links=folder / "links.json", micrographs=1, micrographs_left_out=0, particles=1, particles_left_out=0
    )


LINKS = {"Extract/job005/movies/m_1.mrcs": "particle_extraction/m_1.mrcs", "movies/m_1.tiff": "movies/m_1.tiff"}


@pytest.fixture
def export(tmp_path: Path) -> Export:
    session, target = make_home(tmp_path / "home"), tmp_path / "out"
    target.mkdir()
    return Export(session, target, (tmp_path / "home").resolve(), "relion", {})


def test_links_lead_to_the_results_themselves(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's own links move on when it is processed anew; an export stays as it was."""
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) == Path(path).parent)
    deliver_export(export, make_output(tmp_path / "work", LINKS))
    link = export.target / "Extract/job005/movies/m_1.mrcs"
    assert Path(os.readlink(link)) == (tmp_path / "home" / "results" / "00" / "m_1" / "m_1.mrcs").resolve()
    shutil.rmtree(export.session)
    assert link.exists()


def test_inside_the_home_links_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home, mounted elsewhere, keeps its exports whole; what lies beside it stays absolute."""
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) == Path(path).parent)
    home = tmp_path / "home"
    session, target = make_home(home), home / "exports" / "a"
    target.mkdir(parents=True)
    deliver_export(Export(session, target, home.resolve(), "relion", {}), make_output(tmp_path / "work", LINKS))
    assert not os.readlink(target / "Extract/job005/movies/m_1.mrcs").startswith("/")
    assert os.readlink(target / "movies/m_1.tiff").startswith("/")
    home.rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "exports" / "a" / "Extract/job005/movies/m_1.mrcs"
    assert moved.read_bytes() == (tmp_path / "elsewhere" / "results" / "00" / "m_1" / "m_1.mrcs").read_bytes()


def test_on_one_mount_links_are_relative(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) in (tmp_path.resolve(), Path("/")))
    assert find_tree(export) == tmp_path.resolve()
    deliver_export(export, make_output(tmp_path / "work", LINKS))
    assert os.readlink(export.target / "movies/m_1.tiff") == "../../home_data/m_1_frames.tiff"
    assert (export.target / "movies/m_1.tiff").read_bytes() == b"movie"


def test_a_missing_file_is_named_and_nothing_is_delivered(export: Export, tmp_path: Path) -> None:
    (tmp_path / "home" / "results" / "00" / "m_1" / "m_1.mrcs").unlink()
    with pytest.raises(BadInput, match=r"grid7: particle_extraction/m_1\.mrcs is not there"):
        deliver_export(export, make_output(tmp_path / "work", LINKS))
    assert not any(export.target.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(export: Export, tmp_path: Path) -> None:
    (export.target / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"is not empty; --overwrite"):
        check_target(export.target, export.session, overwrite=False)
    assert check_target(export.target, export.session, overwrite=True) == ()
    (export.target / "movies").mkdir()
    (export.target / "movies" / "raw.tiff").write_text("mine")
    with pytest.raises(BadInput, match=r"movies is not from an earlier export"):
        deliver_export(export, make_output(tmp_path / "work", LINKS))
    assert (export.target / "movies" / "raw.tiff").read_text() == "mine"


def test_jobs_that_relion_added_stay(export: Export, tmp_path: Path) -> None:
    deliver_export(export, make_output(tmp_path / "work", LINKS))
    (export.target / "Extract" / "job007").mkdir()
    (export.target / "Extract" / "job007" / "particles.star").write_text("RELION's own")
    (export.target / "Extract" / "job005" / "stale").write_text("from before")
    earlier = check_target(export.target, export.session, overwrite=True)
    again = Export(export.session, export.target, export.home, "relion", {}, earlier)
    deliver_export(again, make_output(tmp_path / "work2", LINKS))
    assert (export.target / "Extract" / "job007" / "particles.star").read_text() == "RELION's own"
    assert not (export.target / "Extract" / "job005" / "stale").exists()


def test_an_export_that_was_cut_short_is_replaced(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of its entries lie there already; what a killed one leaves beside them is in nobody's way."""
    (export.target / ".exporting-abc").mkdir()
    assert check_target(export.target, export.session, overwrite=False) == ()

    def move_one(source: Path, target: Path) -> Path:
        if target.exists() or "default_pipeline" in target.name:
            raise KeyboardInterrupt
        shutil.move(source, target)
        return target

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", move_one)
        with pytest.raises(KeyboardInterrupt):
            deliver_export(export, make_output(tmp_path / "work", LINKS))
    assert (export.target / "Extract" / "job005").is_dir()
    with pytest.raises(BadInput, match="not empty"):
        check_target(export.target, export.session, overwrite=False)
    again = Export(
        export.session, export.target, export.home, "relion", {}, check_target(export.target, export.session, overwrite=True)
    )
    deliver_export(again, make_output(tmp_path / "work2", LINKS))
    assert (export.target / "default_pipeline.star").is_file()


def test_another_program_takes_the_folder_over(export: Export, tmp_path: Path) -> None:
    deliver_export(export, make_output(tmp_path / "work", LINKS))
    other = make_output(tmp_path / "work2", {"movies/m_1.tiff": "movies/m_1.tiff"})
    shutil.rmtree(other.project)
    other.project.mkdir()
    (other.project / "particles.cs").write_text("rows")
    earlier = check_target(export.target, export.session, overwrite=True)
    deliver_export(Export(export.session, export.target, export.home, "cryosparc", {}, earlier), other)
    assert {path.name for path in export.target.iterdir()} == {RECORD, "particles.cs", "movies"}


def test_the_session_itself_is_no_target(export: Export, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="session's own folder"):
        check_target(export.session / "relion", export.session, overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file"):
        check_target(tmp_path / "file", export.session, overwrite=True)


@pytest.mark.parametrize("entry", ["/etc", "../beside", "a/b/c", "a/../../b"])
def test_a_record_that_names_anything_outside_is_not_believed(tmp_path: Path, entry: str) -> None:
    with pytest.raises(BadInput, match="no part of an export"):
        remove_entry(tmp_path, entry)


@pytest.mark.parametrize("text", ["", "[]", '{"entries": 3}'])
def test_a_damaged_record_is_named(export: Export, text: str) -> None:
    (export.target / RECORD).write_text(text)
    with pytest.raises(BadInput, match="not the record of an export"):
        check_target(export.target, export.session, overwrite=True)
