"""A session as cryoSPARC's tables."""

import json
from pathlib import Path

import numpy as np
import pytest

from exported_session import BOX, HEIGHT, NAMES, PARTICLES, PIXEL, WIDTH, make_home
from magellon.backends.session_export.cryosparc import CryosparcExport, CryosparcExportParams
from magellon.contracts import Context, SessionExportInput, SessionExportOutput
from magellon.io.cryosparc import find_slots, read_cs, read_csg, read_texts
from magellon.io.star import read_star
from magellon.testing import check_backend


def export(session: Path, folder: Path, **params: object) -> SessionExportOutput:
    workdir = folder / "work"
    workdir.mkdir()
    task = SessionExportInput(session=session)
    return CryosparcExport().run(task, CryosparcExportParams.model_validate(params), Context(workdir))


def test_keeps_the_rules_of_a_backend(tmp_path: Path) -> None:
    check_backend(CryosparcExport, SessionExportInput(session=make_home(tmp_path / "home")))


def test_particles(tmp_path: Path) -> None:
    output = export(make_home(tmp_path / "home"), tmp_path)
    rows = read_cs(output.project / "particles.cs")
    assert find_slots(rows) == ["blob", "ctf", "location"]
    assert len(rows) == output.particles == sum(PARTICLES.values())
    assert read_texts(rows, "blob/path")[3] == "particle_extraction/m_2.mrcs"
    assert rows["blob/idx"].tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 3]
    assert rows["blob/shape"].tolist() == [[BOX, BOX]] * 9
    assert rows["blob/psize_A"].tolist() == [PIXEL] * 9
    assert set(rows["blob/sign"]) == {1.0}
    assert rows["ctf/exp_group_id"].tolist() == [0] * 3 + [1] * 2 + [0] * 4
    assert rows["location/micrograph_shape"].tolist() == [[HEIGHT, WIDTH]] * 9
    assert rows["location/center_x_frac"][0] == pytest.approx((11 - 0.3 / PIXEL) / WIDTH)
    assert rows["location/center_y_frac"][0] == pytest.approx((21 + 0.6 / PIXEL) / HEIGHT)
    links = json.loads(output.links.read_bytes())
    assert set(read_texts(rows, "blob/path")) | set(read_texts(rows, "location/micrograph_path")) <= set(links)
    assert all(name == source for name, source in links.items())
    assert read_csg(output.project / "particles.csg").results["location"].rows == 9


def test_exposures(tmp_path: Path) -> None:
    output = export(make_home(tmp_path / "home"), tmp_path)
    rows, particles = read_cs(output.project / "exposures.cs"), read_cs(output.project / "particles.cs")
    assert find_slots(rows) == ["micrograph_blob", "micrograph_blob_non_dw", "mscope_params", "ctf"]
    assert read_texts(rows, "micrograph_blob/path") == [f"motion_correction/{name}.mrc" for name in NAMES]
    assert rows["micrograph_blob/shape"].tolist() == [[HEIGHT, WIDTH]] * 3
    assert rows["mscope_params/total_dose_e_per_A2"].tolist() == [51.0] * 3  # 20 frames of 2.5, and 1 before
    assert rows["ctf/df1_A"].tolist() == [10000.0, 15000.0, 20000.0]
    assert rows["ctf/df_angle_rad"] == pytest.approx(np.deg2rad([30.0] * 3))
    assert set(particles["location/micrograph_uid"].tolist()) == set(rows["uid"].tolist())
    group = read_csg(output.project / "exposures.csg")
    assert (group.kind, group.results["ctf"].kind, group.results["ctf"].rows) == ("exposure", "exposure.ctf", 3)


def test_alignments_where_there_are(tmp_path: Path) -> None:
    output = export(make_home(tmp_path / "home", classes=True), tmp_path, classes=[2, 3])
    rows = read_cs(output.project / "particles.cs")
    assert rows["alignments2D/class"].tolist() == [1, 2, 1, 1, 2]
    assert rows["alignments2D/pose"][0] == pytest.approx(np.deg2rad(30.0))
    assert rows["alignments2D/shift"][0] == pytest.approx([0.2, -0.4])
    assert rows["location/center_x_frac"][0] == pytest.approx(12 / WIDTH)


def test_dark_particles_are_said_to_be(tmp_path: Path) -> None:
    output = export(make_home(tmp_path / "home"), tmp_path, particles_are="dark")
    assert set(read_cs(output.project / "particles.cs")["blob/sign"]) == {-1.0}


def test_the_star_files_say_the_same(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home", held=True)
    output = export(session, tmp_path)
    particles, micrographs = (read_star(output.project / f"{name}.star") for name in ("particles", "micrographs"))
    original = read_star(session / "particles.star")["particles"]
    assert particles["particles"].texts("rlnImageName") == original.texts("rlnImageName")[:5]
    assert micrographs["micrographs"].rows == output.micrographs == 2
    assert len(read_cs(output.project / "particles.cs")) == 5


def test_a_session_without_particles_gives_exposures(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home")
    (session / "particles.star").unlink()
    (session / "micrographs_ctf.star").unlink()
    output = export(session, tmp_path)
    assert {path.name for path in output.project.iterdir()} == {"exposures.cs", "exposures.csg", "micrographs.star"}
    assert find_slots(read_cs(output.project / "exposures.cs")) == [
        "micrograph_blob",
        "micrograph_blob_non_dw",
        "mscope_params",
    ]
