"""The STAR files and the summary of a session."""

import json
from pathlib import Path

import numpy as np
import pytest

from magellon.backends.session_star.backend import RelionSession, RelionSessionParams
from magellon.contracts import (
    BadInput,
    Context,
    Ctf,
    CtfOutput,
    ExtractionOutput,
    Gain,
    Micrograph,
    MotionOutput,
    Movie,
    Optics,
    Particles,
    PickingOutput,
    Picks,
    SessionItem,
    SessionStarInput,
    SessionStarOutput,
)
from magellon.io.eer_encoder import write_eer
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import StarTable, read_star, write_star
from magellon.io.tiff_movie import write_tiff_movie
from magellon.testing import check_backend


def make_motion(folder: Path, name: str, optics: Optics, original: float = 0.6) -> MotionOutput:
    star = folder / f"{name}.star"
    write_star(star, {"general": StarTable({"rlnMicrographOriginalPixelSize": [original]}, loop=False)})
    for suffix in (".mrc", "_noDW.mrc", "_motion.png"):
        (folder / f"{name}{suffix}").touch()

    def micrograph(suffix: str) -> Micrograph:
        return Micrograph(name=name, path=folder / f"{name}{suffix}", pixel_size=1.2, shape=(200, 300), optics=optics)

    return MotionOutput(
        micrograph=micrograph(".mrc"), unweighted=micrograph("_noDW.mrc"), even=None, odd=None, star=star,
        plot=folder / f"{name}_motion.png", frames=10, total_motion=12.0, early_motion=9.0, late_motion=3.0,
    )  # fmt: skip


def make_ctf(folder: Path, name: str, defocus: float, warnings: tuple[str, ...] = ()) -> CtfOutput:
    paths = {}
    for key, suffix in {"spectrum": "_ctf.mrc", "picture": "_ctf.png", "profile": "_ctf_profile.star"}.items():
        paths[key] = folder / f"{name}{suffix}"
        paths[key].touch()
    ctf = Ctf(defocus_u=defocus, defocus_v=defocus - 200, defocus_angle=30.0, score=0.2, resolution=4.5)
    return CtfOutput(ctf=ctf, defocus_error=30.0, astigmatism_error=60.0, warnings=warnings, **paths)


def make_particles(folder: Path, name: str, count: int, *, box: int = 32, ctf: bool = True) -> ExtractionOutput:
    stack, star = folder / f"{name}.mrcs", folder / f"{name}_extract.star"
    stack.touch()
    columns: dict[str, list[object]] = {
        "rlnCoordinateX": [10.0 * n for n in range(count)],
        "rlnCoordinateY": [20.0 * n for n in range(count)],
        "rlnImageName": [f"{n + 1:06d}@{name}.mrcs" for n in range(count)],
        "rlnMicrographName": [f"{name}.mrc"] * count,
        "rlnOpticsGroup": [1] * count,
    }
    if ctf:
        columns["rlnDefocusU"] = [12000.0] * count
    columns["rlnRandomSubset"] = [n % 2 + 1 for n in range(count)]
    write_star(star, {"optics": {"rlnOpticsGroup": [1]}, "particles": columns})
    return ExtractionOutput(
        particles=Particles(star=star, stack=stack if count else None, count=count, box=box, pixel_size=2.4),
        left_out_at_edge=1, padded_at_edge=2, duplicates_removed=3, picture=None,
    )  # fmt: skip


def make_item(folder: Path, name: str, count: int, optics: Optics | None = None, **updates: object) -> SessionItem:
    picks = folder / f"{name}_autopick.star"
    picks.touch()
    item = SessionItem(
        name=name,
        motion_correction=make_motion(folder, name, optics or Optics(group="hole_1")),
        ctf_estimation=make_ctf(folder, name, 12000.0),
        particle_picking=PickingOutput(picks=Picks(path=picks, count=count + 6, diameter=150), picture=picks),
        particle_extraction=make_particles(folder, name, count),
    )
    return item.model_copy(update=updates)


def gather(folder: Path, items: list[SessionItem], folders: dict[str, str] | None = None) -> SessionStarOutput:
    workdir = folder / "out"
    workdir.mkdir(exist_ok=True)
    return RelionSession().run(
        SessionStarInput(items=tuple(items), folders=folders or {}), RelionSessionParams(), Context(workdir)
    )


def test_coordinate_files_are_listed_as_relion_4_does(tmp_path: Path) -> None:
    unpicked = make_item(tmp_path, "c", 1, particle_picking=None, particle_extraction=None)
    output = gather(tmp_path, [make_item(tmp_path, "b", 2), unpicked, make_item(tmp_path, "a", 0)])
    assert output.autopick is not None
    table = read_star(output.autopick)["coordinate_files"]
    assert table["rlnMicrographName"] == ["motion_correction/a.mrc", "motion_correction/b.mrc"]
    assert table["rlnMicrographCoordinates"] == ["particle_picking/a_autopick.star", "particle_picking/b_autopick.star"]
    assert gather(tmp_path, [unpicked]).autopick is None


def test_keeps_the_rules_of_a_backend(tmp_path: Path) -> None:
    items = (make_item(tmp_path, "b", 2), make_item(tmp_path, "a", 3))
    check_backend(RelionSession, SessionStarInput(items=items))


def test_micrographs(tmp_path: Path) -> None:
    items = [make_item(tmp_path, "b", 2), make_item(tmp_path, "a", 3, Optics(group="hole_2", voltage=200.0))]
    output = gather(tmp_path, items)
    assert output.corrected_micrographs is not None
    assert output.micrographs_ctf is not None
    corrected = read_star(output.corrected_micrographs)
    assert corrected["micrographs"].texts("rlnMicrographName") == ["motion_correction/a.mrc", "motion_correction/b.mrc"]
    assert corrected["micrographs"].texts("rlnMicrographMetadata") == ["motion_correction/a.star", "motion_correction/b.star"]
    assert corrected["micrographs"].ints("rlnOpticsGroup") == [1, 2]
    assert corrected["micrographs"].floats("rlnAccumMotionTotal") == [20.0, 20.0]  # 12 Å in pixels of 0.6 Å
    assert corrected["optics"].texts("rlnOpticsGroupName") == ["hole_2", "hole_1"]
    assert corrected["optics"].floats("rlnVoltage") == [200.0, 300.0]
    assert corrected["optics"].floats("rlnMicrographOriginalPixelSize") == [0.6, 0.6]
    assert corrected["optics"].floats("rlnMicrographPixelSize") == [1.2, 1.2]
    fitted = read_star(output.micrographs_ctf)["micrographs"]
    assert fitted.texts("rlnCtfImage") == ["ctf_estimation/a_ctf.mrc:mrc", "ctf_estimation/b_ctf.mrc:mrc"]
    assert fitted.floats("rlnDefocusU") == [12000.0, 12000.0]
    assert fitted.floats("rlnCtfAstigmatism") == [200.0, 200.0]


def test_particles_of_all_micrographs_in_the_order_of_their_names(tmp_path: Path) -> None:
    items = [make_item(tmp_path, "b", 2), make_item(tmp_path, "c", 0), make_item(tmp_path, "a", 3)]
    output = gather(tmp_path, items, {"particle_extraction": "boxes", "motion_correction": ""})
    assert output.particles is not None
    particles = read_star(output.particles)["particles"]
    assert particles.texts("rlnImageName") == [
        "000001@boxes/a.mrcs", "000002@boxes/a.mrcs", "000003@boxes/a.mrcs", "000001@boxes/b.mrcs", "000002@boxes/b.mrcs",
    ]  # fmt: skip
    assert particles.texts("rlnMicrographName") == ["a.mrc"] * 3 + ["b.mrc"] * 2
    assert particles.floats("rlnCoordinateX") == [0, 10, 20, 0, 10]
    optics = read_star(output.particles)["optics"]
    assert optics.floats("rlnImagePixelSize") == [2.4]
    assert optics.ints("rlnImageSize") == [32]


def test_optics_groups_are_unique_and_boxes_of_one_size(tmp_path: Path) -> None:
    """Micrographs that share a name but not their optics, or not their box, are told apart."""
    other = Optics(group="hole_1", amplitude_contrast=0.07)
    items = [make_item(tmp_path, "a", 1), make_item(tmp_path, "b", 1, other), make_item(tmp_path, "c", 1)]
    items[2] = items[2].model_copy(update={"particle_extraction": make_particles(tmp_path, "c", 1, box=48)})
    output = gather(tmp_path, items)
    assert output.particles is not None
    assert output.corrected_micrographs is not None
    tables = read_star(output.particles)
    assert tables["optics"].texts("rlnOpticsGroupName") == ["hole_1", "hole_1_2", "hole_1_3"]
    assert tables["optics"].ints("rlnImageSize") == [32, 32, 48]
    assert tables["particles"].ints("rlnOpticsGroup") == [1, 2, 3]
    assert read_star(output.corrected_micrographs)["micrographs"].ints("rlnOpticsGroup") == [1, 2, 1]


def test_particles_without_ctf_are_left_out_where_others_have_one(tmp_path: Path) -> None:
    items = [make_item(tmp_path, "a", 2), make_item(tmp_path, "b", 3)]
    items[0] = items[0].model_copy(update={"particle_extraction": make_particles(tmp_path, "a", 2, ctf=False)})
    output = gather(tmp_path, items)
    assert output.particles is not None
    assert read_star(output.particles)["particles"].rows == 3
    assert json.loads(output.summary.read_text())["particles"]["without_ctf"] == 2
    only = gather(tmp_path, items[:1])
    assert only.particles is not None
    assert read_star(only.particles)["particles"].rows == 2


def test_a_session_without_particles_has_an_empty_table(tmp_path: Path) -> None:
    output = gather(tmp_path, [make_item(tmp_path, "a", 0)])
    assert output.particles is not None
    tables = read_star(output.particles)
    assert tables["particles"].rows == 0
    assert "rlnImageName" in tables["particles"]
    assert tables["optics"].rows == 1


def test_steps_that_are_missing_leave_no_file(tmp_path: Path) -> None:
    item = SessionItem(name="a", held=("score 0.02 is below 0.05",))
    output = gather(tmp_path, [item])
    assert (output.corrected_micrographs, output.micrographs_ctf, output.particles) == (None, None, None)
    summary = json.loads(output.summary.read_text())
    assert summary["held"] == {"a": ["score 0.02 is below 0.05"]}
    assert summary["incomplete"] == {}
    assert summary["completed"]["motion_correction"] == 0
    assert summary["medians"]["defocus"] is None


def test_the_summary_says_where_items_stopped(tmp_path: Path) -> None:
    whole, half = make_item(tmp_path, "a", 2), make_item(tmp_path, "b", 2)
    half = half.model_copy(update={"particle_picking": None, "particle_extraction": None})
    summary = json.loads(gather(tmp_path, [whole, half, SessionItem(name="c")]).summary.read_text())
    assert summary["incomplete"] == {"b": "particle_picking", "c": "motion_correction"}


def test_summary(tmp_path: Path) -> None:
    items = [make_item(tmp_path, "a", 2), make_item(tmp_path, "b", 4), make_item(tmp_path, "c", 9)]
    items[2] = items[2].model_copy(update={"ctf_estimation": make_ctf(tmp_path, "c", 22000.0, ("no rings",))})
    summary = json.loads(gather(tmp_path, items).summary.read_text())
    assert summary["micrographs"] == 3
    assert summary["completed"] == dict.fromkeys(summary["completed"], 3)
    assert summary["warnings"] == {"c": ["no rings"]}
    assert summary["picks"] == 15 + 18
    assert summary["particles"] == {
        "count": 15, "without_ctf": 0, "boxes": [[32, 2.4]],
        "left_out_at_edge": 3, "padded_at_edge": 6, "duplicates_removed": 9,
    }  # fmt: skip
    assert summary["medians"]["defocus"] == 11900.0
    assert summary["medians"]["particles_per_micrograph"] == 4.0


def test_plain_micrographs_without_motion_correction(tmp_path: Path) -> None:
    (tmp_path / "outside.mrc").touch()
    micrograph = Micrograph(name="a", path=tmp_path / "outside.mrc", pixel_size=1.2, shape=(200, 300))
    item = SessionItem(
        name="a",
        micrograph=micrograph,
        ctf_estimation=make_ctf(tmp_path, "a", 9000.0),
        particle_extraction=make_particles(tmp_path, "a", 1),
    )
    output = gather(tmp_path, [item], {"micrograph": "", "ctf_estimation": "", "particle_extraction": ""})
    assert output.micrographs_ctf is not None
    assert output.particles is not None
    assert read_star(output.micrographs_ctf)["micrographs"].texts("rlnMicrographName") == ["outside.mrc"]
    assert read_star(output.particles)["particles"].texts("rlnImageName") == ["000001@a.mrcs"]
    nothing = item.model_copy(update={"micrograph": None})
    with pytest.raises(BadInput, match="a: has results but no micrograph"):
        gather(tmp_path, [nothing])


def test_a_particle_file_that_lies_about_its_number_is_refused(tmp_path: Path) -> None:
    item = make_item(tmp_path, "a", 3)
    assert item.particle_extraction is not None
    star = item.particle_extraction.particles.star
    star.write_text("\n".join(star.read_text().rstrip().splitlines()[:-1]) + "\n")
    with pytest.raises(BadInput, match=r"a_extract\.star: 2 particles where 3 were announced"):
        gather(tmp_path, [item])
    assert not (tmp_path / "out" / "particles.star").exists()


def test_two_items_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="two items of the session are called a"):
        gather(tmp_path, [SessionItem(name="a"), SessionItem(name="a")])


@pytest.mark.parametrize(("rotation", "flip"), [(90, "none"), (180, "x"), (0, "y")])
def test_turned_gains_lie_as_the_movies(tmp_path: Path, rotation: int, flip: str) -> None:
    frames = np.ones((2, 12, 16), dtype=np.uint8)
    write_tiff_movie(tmp_path / "a.tiff", frames, 1.0)
    stored = np.random.default_rng(0).uniform(0.9, 1.1, (16, 12) if rotation == 90 else (12, 16)).astype(np.float32)
    write_mrc(tmp_path / "gain.mrc", stored, 1.0)
    gain = Gain.model_validate({"path": tmp_path / "gain.mrc", "rotation": rotation, "flip": flip})
    item = make_item(tmp_path, "a", 1, movie=Movie(name="a", path=tmp_path / "a.tiff", pixel_size=0.6, gain=gain))
    (turned,) = gather(tmp_path, [item]).gains
    assert turned.name == gain.turned_name
    expected = np.rot90(stored, rotation // 90)
    expected = {"none": expected, "x": expected[:, ::-1], "y": expected[::-1]}[flip]
    assert np.array_equal(read_mrc(turned), expected)


def test_gains_that_lie_right_are_not_copied(tmp_path: Path) -> None:
    movie = Movie(name="a", path=tmp_path / "a.tiff", pixel_size=0.6, gain=Gain(path=tmp_path / "gain.mrc"))
    assert gather(tmp_path, [make_item(tmp_path, "a", 1, movie=movie)]).gains == ()


def test_turned_gains_of_eer_movies_are_divided_by(tmp_path: Path) -> None:
    """RELION takes mean / gain of an MRC reference when the movie is EER."""
    write_eer(tmp_path / "a.eer", [np.zeros((0, 2), dtype=np.int64)] * 2, (2048, 2048))
    stored = np.random.default_rng(0).uniform(0.9, 1.1, (2048, 2048)).astype(np.float32)
    stored[5, 7] = 0
    write_mrc(tmp_path / "gain.mrc", stored, 1.0)
    movie = Movie(name="a", path=tmp_path / "a.eer", pixel_size=0.6, gain=Gain(path=tmp_path / "gain.mrc", rotation=90))
    (turned,) = gather(tmp_path, [make_item(tmp_path, "a", 1, movie=movie)]).gains
    ratio = read_mrc(turned)[alive := np.rot90(stored) > 0] / np.rot90(stored)[alive]
    assert np.ptp(ratio) < 1e-5 * ratio[0]
    assert (read_mrc(turned)[~alive] == 0).all()


def test_gains_of_formats_that_relion_does_not_read_are_written_for_it() -> None:
    assert Gain(path=Path("x/gain.tiff")).turned_name is None
    assert Gain(path=Path("x/gain.dm4")).turned_name == "gain.dm4_rot0_flip_none.mrc"
    names = {Gain(path=Path(f"CountRef_2023-09-25_13.{minute}.28.dm4")).turned_name for minute in ("01", "59")}
    assert len(names) == 2, "SerialEM's names hold times"
    assert Gain(path=Path("x/gain.mrc.gz"), flip="x").turned_name == "gain.mrc.gz_rot0_flip_x.mrc"
