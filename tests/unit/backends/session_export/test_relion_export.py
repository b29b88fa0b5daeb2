"""A session as a RELION project."""

import json
from pathlib import Path

import pytest

from exported_session import BOX, NAMES, PARTICLES, classify, make_home
from magellon.backends.session_export.conditions import Condition, parse_conditions
from magellon.backends.session_export.relion import RelionExport, RelionExportParams
from magellon.backends.session_export.selection import select_session
from magellon.backends.session_export.session import read_session
from magellon.contracts import BadInput, Context, SessionExportInput, SessionExportOutput
from magellon.io.star import StarTable, read_star, write_star
from magellon.testing import check_backend

METRICS = ("ctf_resolution", "defocus")


def export(session: Path, folder: Path, **params: object) -> SessionExportOutput:
    workdir = folder / "work"
    workdir.mkdir(parents=True)
    task = SessionExportInput(session=session)
    return RelionExport().run(task, RelionExportParams.model_validate(params), Context(workdir))


def read(output: SessionExportOutput, name: str, block: str) -> StarTable:
    return read_star(output.project / name)[block]


def test_keeps_the_rules_of_a_backend(tmp_path: Path) -> None:
    check_backend(RelionExport, SessionExportInput(session=make_home(tmp_path / "home")))


def test_the_pipeline_goes_from_import_to_extraction(tmp_path: Path) -> None:
    output = export(make_home(tmp_path / "home"), tmp_path)
    assert (output.project / ".gui_projectdir").exists()  # RELION's interface asks for them
    assert (output.project / ".TMP_runfiles").is_dir()
    blocks = read_star(output.project / "default_pipeline.star")
    jobs = blocks["pipeline_processes"].texts("rlnPipeLineProcessName")
    assert jobs == ["Import/job001/", "MotionCorr/job002/", "CtfFind/job003/", "AutoPick/job004/", "Extract/job005/"]
    assert blocks["pipeline_processes"].ints("rlnPipeLineProcessType") == [0, 1, 2, 4, 5]
    assert blocks["pipeline_processes"].ints("rlnPipeLineProcessStatus") == [2] * 5
    assert blocks["pipeline_general"].ints("rlnPipeLineJobCounter") == [6]
    for node in blocks["pipeline_nodes"].texts("rlnPipeLineNodeName"):
        assert (output.project / node).is_file()
    for job in jobs:
        files = {path.name for path in (output.project / job).iterdir()}
        assert {"job.star", "job_pipeline.star", "run.out", "run.err", "RELION_JOB_EXIT_SUCCESS"} <= files
    edges = blocks["pipeline_input_edges"]
    made = set(blocks["pipeline_output_edges"].texts("rlnPipeLineEdgeToNode"))
    assert set(edges.texts("rlnPipeLineEdgeFromNode")) <= made == set(blocks["pipeline_nodes"].texts("rlnPipeLineNodeName"))
    assert read(output, "Extract/job005/job.star", "job").ints("rlnJobType") == [5]


def test_names_agree_after_the_jobs_folders(tmp_path: Path) -> None:
    """Polishing takes `X/jobNNN/` off and matches the rest."""
    output = export(make_home(tmp_path / "home"), tmp_path)
    expected = [f"MotionCorr/job002/movies/{name}.mrc" for name in NAMES]
    corrected = read(output, "MotionCorr/job002/corrected_micrographs.star", "micrographs")
    assert corrected.texts("rlnMicrographName") == expected
    assert corrected.texts("rlnMicrographMetadata") == [f"MotionCorr/job002/movies/{name}.star" for name in NAMES]
    fitted = read(output, "CtfFind/job003/micrographs_ctf.star", "micrographs")
    assert fitted.texts("rlnMicrographName") == expected
    assert fitted.texts("rlnCtfImage")[0] == "CtfFind/job003/movies/m_1_ctf.mrc:mrc"
    particles = read(output, "Extract/job005/particles.star", "particles")
    assert list(dict.fromkeys(particles.texts("rlnMicrographName"))) == expected
    assert particles.texts("rlnImageName")[:4] == [
        *(f"{number:06d}@Extract/job005/movies/m_1.mrcs" for number in (1, 2, 3)),
        "000001@Extract/job005/movies/m_2.mrcs",
    ]
    picks = read(output, "AutoPick/job004/autopick.star", "coordinate_files")
    assert picks.texts("rlnMicrographCoordinates")[1] == "AutoPick/job004/movies/m_2_autopick.star"
    movies = read(output, "Import/job001/movies.star", "movies")
    assert movies.texts("rlnMicrographMovieName") == [f"movies/{name}.tiff" for name in NAMES]
    links = json.loads(output.links.read_bytes())
    named = {*expected, *corrected.texts("rlnMicrographNameNoDW"), *picks.texts("rlnMicrographCoordinates")}
    assert named | {"movies/gain.mrc", "movies/m_1.tiff", "Extract/job005/movies/m_1.mrcs"} <= set(links)
    assert links["Extract/job005/movies/m_1.mrcs"] == "particle_extraction/m_1.mrcs"


def test_nothing_but_names_changes(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home")
    output = export(session, tmp_path)
    original = read_star(session / "particles.star")
    made = read_star(output.project / "Extract" / "job005" / "particles.star")
    assert made["optics"] == original["optics"]
    for label, values in original["particles"].items():
        if label not in ("rlnImageName", "rlnMicrographName"):
            assert made["particles"][label] == values, label
    assert (output.micrographs, output.particles) == (3, sum(PARTICLES.values()))
    assert (output.micrographs_left_out, output.particles_left_out) == (0, 0)


def test_conditions_choose_micrographs_everywhere(tmp_path: Path) -> None:
    output = export(make_home(tmp_path / "home"), tmp_path, where=["ctf_resolution<=8", "9000<=defocus<12000"])
    assert (output.micrographs, output.micrographs_left_out, output.particles, output.particles_left_out) == (1, 2, 3, 6)
    for file, block in (
        ("Import/job001/movies.star", "movies"), ("MotionCorr/job002/corrected_micrographs.star", "micrographs"),
        ("CtfFind/job003/micrographs_ctf.star", "micrographs"), ("AutoPick/job004/autopick.star", "coordinate_files"),
    ):  # fmt: skip
        assert read(output, file, block).rows == 1, file
    assert read(output, "Extract/job005/particles.star", "optics").texts("rlnOpticsGroupName") == ["hole_1"]
    assert not [name for name in json.loads(output.links.read_bytes()) if "m_2" in name or "m_3" in name]


def test_optics_groups_that_are_left_are_numbered_from_1(tmp_path: Path) -> None:
    output = export(make_home(tmp_path / "home"), tmp_path, where=["4<ctf_resolution<=8"])
    for file, block in (("Extract/job005/particles.star", "particles"), ("CtfFind/job003/micrographs_ctf.star", "micrographs")):
        optics = read(output, file, "optics")
        assert (optics.texts("rlnOpticsGroupName"), optics.ints("rlnOpticsGroup")) == (["hole_2"], [1])
        assert set(read(output, file, block).ints("rlnOpticsGroup")) == {1}


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("total_motion<=15", ["m_1", "m_2"]),  # 20 pixels of 0.75 Å
        ("astigmatism==1000", ["m_2"]),
        ("ctf_score>0.5", ["m_1"]),
        ("particles>=3", ["m_1", "m_3"]),
        ("phase_shift>=0", ["m_1", "m_2", "m_3"]),
        ("picks<3", ["m_2"]),
        ("resolution<8", ["m_1"]),
        ("score<=0.5", ["m_2", "m_3"]),
    ],
)
def test_metrics(tmp_path: Path, where: str, names: list[str]) -> None:
    output = export(make_home(tmp_path / "home"), tmp_path, where=[where])
    table = read(output, "MotionCorr/job002/corrected_micrographs.star", "micrographs")
    assert [Path(name).stem for name in table.texts("rlnMicrographName")] == names


def test_particles_are_chosen_by_class_and_score(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home", classes=True)
    output = export(session, tmp_path, classes=[1, 4], where=["pick_score<=0.35"])
    particles = read(output, "Extract/job005/particles.star", "particles")
    assert particles.ints("rlnClassNumber") == [1, 1, 1]
    assert (output.micrographs, output.particles, output.particles_left_out) == (3, 3, 6)


def test_particles_are_chosen_by_what_the_classification_says(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home")
    with pytest.raises(BadInput, match=r"not classified \(yet\)"):
        export(session, tmp_path / "early", kept=True)
    classify(session)
    chosen = read(export(session, tmp_path / "by class", classes=[2]), "Extract/job005/particles.star", "particles")
    assert chosen.ints("rlnClassNumber") == [2, 2, 2]
    kept = read(export(session, tmp_path / "kept", kept=True), "Extract/job005/particles.star", "particles")
    assert kept.ints("rlnClassNumber") == [1, 2, 3, 1, 2]
    everything = read(export(session, tmp_path / "all"), "Extract/job005/particles.star", "particles")
    assert everything.rows == 9
    assert "rlnClassNumber" not in everything


def test_held_micrographs_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home", held=True)
    assert export(session, tmp_path).micrographs == 2
    (tmp_path / "with").mkdir()
    assert export(session, tmp_path / "with", held=True).micrographs == 3


def test_a_micrograph_without_the_value_is_left_out(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home")
    tables = read_star(session / "micrographs_ctf.star")
    for values in tables["micrographs"].values():
        del values[1:]
    (session / "micrographs_ctf.star").unlink()
    write_star(session / "micrographs_ctf.star", tables)
    output = export(session, tmp_path, where=["ctf_resolution<=100"])
    assert (output.micrographs, output.particles) == (1, 3)


def test_movies_that_are_gone_are_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session = make_home(tmp_path / "home")
    for name in ("m_1", "m_3"):
        (tmp_path / "home_data" / f"{name}_frames.tiff").unlink()
    output = export(session, tmp_path)
    assert "movies/m_1.tiff and 1 others" in caplog.text
    links = json.loads(output.links.read_bytes())
    assert [name for name in links if name.startswith("movies/")] == ["movies/gain.mrc", "movies/m_2.tiff"]
    assert read(output, "Import/job001/movies.star", "movies").rows == 3


def test_a_session_without_particles_ends_earlier(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home")
    for name in ("particles.star", "autopick.star"):
        (session / name).unlink()
    output = export(session, tmp_path)
    jobs = read(output, "default_pipeline.star", "pipeline_processes").texts("rlnPipeLineProcessName")
    assert jobs[-1] == "CtfFind/job003/"
    assert output.particles == 0
    (tmp_path / "again").mkdir()
    with pytest.raises(BadInput, match="has no particles"):
        export(session, tmp_path / "again", classes=[1])


def test_a_session_with_an_empty_particle_table(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home")
    tables = read_star(session / "particles.star")
    (session / "particles.star").unlink()
    write_star(session / "particles.star", tables | {"particles": StarTable({label: [] for label in tables["particles"]})})
    output = export(session, tmp_path)
    assert output.particles == 0
    assert read(output, "Extract/job005/particles.star", "particles").rows == 0


def test_micrographs_made_elsewhere_keep_their_names(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home")
    (session / "corrected_micrographs.star").unlink()
    output = export(session, tmp_path)
    jobs = read(output, "default_pipeline.star", "pipeline_processes").texts("rlnPipeLineProcessName")
    assert jobs == ["Import/job001/", "CtfFind/job003/", "AutoPick/job004/", "Extract/job005/"]
    names = read(output, "Import/job001/micrographs.star", "micrographs").texts("rlnMicrographName")
    assert names[0] == "motion_correction/m_1.mrc"
    assert read(output, "Extract/job005/particles.star", "particles").texts("rlnMicrographName")[0] == names[0]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"where": ["ctf_resolution<=1"]}, "none of 3 micrographs is left"),
        ({"where": ["sharpness<=6"]}, "no metric 'sharpness'; there are total_motion"),
        ({"where": ["ctf_resolution"]}, "write METRIC<=NUMBER"),
        ({"classes": [1]}, "no classes"),
        ({"where": ["pick_score>100"]}, "none of 9 particles is left"),
    ],
)
def test_what_cannot_be_exported_is_said(tmp_path: Path, params: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        export(make_home(tmp_path / "home"), tmp_path, **params)


def test_a_session_that_has_no_results_yet(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(BadInput, match="new: nothing to export"):
        export(tmp_path / "new", tmp_path)


def test_a_session_that_moves_on_meanwhile_is_exported_as_it_was(tmp_path: Path) -> None:
    """The particle file is read twice; between, the session's link may come to lead to a newer one."""
    session = make_home(tmp_path / "home")
    selection = select_session(read_session(session), RelionExportParams())
    (session / "particles.star").unlink()
    (session / "particles.star").write_text("data_particles\nloop_\n_rlnMicrographName\n")
    assert sum(piece.rows for piece in selection.iterate()) == selection.particles == 9


def test_damaged_files_are_named(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home")
    text = (session / "particles.star").read_text()
    (session / "particles.star").unlink()
    (session / "particles.star").write_text(text.rstrip()[:-4])
    with pytest.raises(BadInput, match=r"particles\.star: line \d+ has \d+ values for 15 labels"):
        export(session, tmp_path)


def test_names_that_lead_out_of_the_session_are_refused(tmp_path: Path) -> None:
    session = make_home(tmp_path / "home")
    text = (session / "particles.star").read_text()
    (session / "particles.star").unlink()
    (session / "particles.star").write_text(text.replace("@particle_extraction/m_2.mrcs", "@../../secret/m_2.mrcs"))
    with pytest.raises(BadInput, match="does not lie in the session's folder"):
        export(session, tmp_path)


def test_conditions() -> None:
    assert parse_conditions(["5000 <= defocus < 2e4"], METRICS) == [
        Condition("defocus", ">=", 5000.0), Condition("defocus", "<", 20000.0),
    ]  # fmt: skip
    assert parse_conditions(["-.5<defocus"], METRICS) == [Condition("defocus", ">", -0.5)]
    for text in ("defocus", "defocus=3", "3>defocus", "1<=defocus>=2", "defocus<=x", "defocus<=nan", "", "a b<3"):
        with pytest.raises(BadInput, match="where"):
            parse_conditions([text], METRICS)
    assert not Condition("defocus", ">", 0.0).holds(None)


def test_the_box_size_is_in_the_optics(tmp_path: Path) -> None:
    output = export(make_home(tmp_path / "home"), tmp_path)
    assert read(output, "Extract/job005/particles.star", "optics").ints("rlnImageSize") == [BOX, BOX]
