"""From files to inputs: names, optics, STAR files of several versions, picks found beside."""

from pathlib import Path

import numpy as np
import pytest

from magellon.cli.acquisition import MovieOptions, OpticsOptions, read_optics_options
from magellon.cli.run.damaged import SetAside
from magellon.cli.run.inputs import find_items
from magellon.cli.run.names import name_micrograph, name_uniquely
from magellon.cli.run.request import Beside, Request
from magellon.contracts import (
    ClassificationInput,
    CtfInput,
    ExtractionInput,
    HoleInput,
    MotionInput,
    PickerTrainingInput,
    PickingInput,
    SquareInput,
)
from magellon.errors import BadInput
from magellon.io.mrc import write_mrc
from magellon.io.star import write_star


def ask(category: str, *files: Path, **more: object) -> Request:
    return Request(category, "any", 1, files, files[0].parent if files else Path(), **more)  # type: ignore[arg-type]


def make_mrc(path: Path, pixel_size: float = 1.5, frames: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (8, 16) if frames is None else (frames, 8, 16)
    write_mrc(path, np.zeros(shape, np.float32), pixel_size)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder as RELION 3.1 leaves it: two micrographs, their CTFs, picks on one."""
    for name in ("a", "b"):
        make_mrc(tmp_path / "motion" / f"{name}.mrc")
        make_mrc(tmp_path / "motion" / f"{name}_noDW.mrc")
    write_star(
        tmp_path / "micrographs_ctf.star",
        {
            "optics": {
                "rlnOpticsGroupName": ["one", "two"],
                "rlnOpticsGroup": [1, 2],
                "rlnMicrographPixelSize": [1.5, 1.6],
                "rlnVoltage": [200.0, 300.0],
                "rlnSphericalAberration": [1.4, 2.7],
                "rlnAmplitudeContrast": [0.07, 0.1],
            },
            "micrographs": {
                "rlnMicrographName": ["motion/a.mrc", "motion/b.mrc"],
                "rlnMicrographNameNoDW": ["motion/a_noDW.mrc", "motion/b_noDW.mrc"],
                "rlnOpticsGroup": [1, 2],
                "rlnDefocusU": [12000.0, 9000.0],
                "rlnDefocusV": [11000.0, 8900.0],
                "rlnDefocusAngle": [33.0, -12.0],
                "rlnCtfFigureOfMerit": [0.3, 0.2],
                "rlnCtfMaxResolution": [4.0, 5.0],
            },
        },
    )
    (tmp_path / "picks").mkdir()
    coordinates = {"rlnCoordinateX": [1.0, 2.0, 3.0], "rlnCoordinateY": [1.0, 2.0, 3.0]}
    write_star(tmp_path / "picks" / "a_autopick.star", {"": coordinates})
    return tmp_path


def test_names_are_file_names_without_suffix_unless_shared() -> None:
    assert name_uniquely([Path("x/a.tiff"), Path("x/b.tiff")]) == ["a", "b"]
    assert name_uniquely([Path("x/a.tiff"), Path("y/a.tiff")]) == ["x_a", "y_a"]
    assert name_uniquely([Path("x/a.tiff"), Path("x/a.mrc")]) == ["x_a", "a_mrc"]
    with pytest.raises(BadInput, match="have the same name"):
        name_uniquely([Path("x/a.tiff"), Path("x/a.tiff"), Path("x/a.tiff")])


def test_variants_of_a_micrograph_have_its_name() -> None:
    assert name_micrograph(Path("a_noDW.mrc")) == "a"
    assert name_micrograph(Path("_noDW.mrc")) == "_noDW"


def test_movies_take_optics_from_the_flags_and_pixel_sizes_from_headers(tmp_path: Path) -> None:
    movie = make_mrc(tmp_path / "m.mrcs", 0.83, frames=2)
    gain = make_mrc(tmp_path / "gain.mrc")
    optics = OpticsOptions(voltage=200, spherical_aberration=1.4)
    options = MovieOptions(exposure_per_frame=1.04, gain=gain, gain_rotation=90, gain_flip="y")
    [item] = find_items(ask("motion_correction", movie, optics=optics, movie=options))
    assert isinstance(item.input, MotionInput)
    made = item.input.movie
    assert (made.name, made.optics.voltage, made.optics.spherical_aberration) == ("m", 200, 1.4)
    assert made.pixel_size == pytest.approx(0.83)
    assert made.optics.amplitude_contrast == 0.1
    assert made.gain is not None
    assert (made.gain.rotation, made.gain.flip) == (90, "y")
    assert made.exposure_per_frame == 1.04


def test_the_flag_wins_over_the_header(tmp_path: Path) -> None:
    movie = make_mrc(tmp_path / "m.mrcs", 0.83, frames=2)
    [item] = find_items(ask("motion_correction", movie, optics=OpticsOptions(pixel_size=1.2)))
    assert isinstance(item.input, MotionInput)
    assert item.input.movie.pixel_size == 1.2


def test_a_pixel_size_nobody_says_is_asked_for(tmp_path: Path) -> None:
    movie = make_mrc(tmp_path / "m.mrcs", frames=2)
    content = bytearray(movie.read_bytes())
    content[40:52] = bytes(12)  # the sides of the cell
    movie.write_bytes(content)
    with pytest.raises(BadInput, match=r"m\.mrcs: the header gives no pixel size; say it with --pixel-size"):
        find_items(ask("motion_correction", movie))
    (tmp_path / "m.eer").write_bytes(b"whatever")
    with pytest.raises(BadInput, match=r"m\.eer: not a TIFF file"):
        find_items(ask("motion_correction", tmp_path / "m.eer"))


def test_turning_needs_a_gain(tmp_path: Path) -> None:
    movie = make_mrc(tmp_path / "m.mrcs", frames=2)
    with pytest.raises(BadInput, match="need --gain"):
        find_items(ask("motion_correction", movie, movie=MovieOptions(gain_rotation=90)))


def test_ctf_uses_the_unweighted_micrograph_of_a_star_file(project: Path) -> None:
    items = find_items(ask("ctf_estimation", project / "micrographs_ctf.star"))
    assert [item.name for item in items] == ["a", "b"]
    first = items[0].input
    assert isinstance(first, CtfInput)
    assert first.micrograph.path == project / "motion" / "a_noDW.mrc"
    assert first.micrograph.name == "a"
    assert first.micrograph.shape == (8, 16)
    assert first.micrograph.optics.voltage == 200
    assert first.micrograph.optics.group == "one"
    assert items[0].micrograph is not None
    assert items[0].micrograph.path == project / "motion" / "a.mrc"


def test_optics_groups_are_told_apart(project: Path) -> None:
    inputs = [item.input for item in find_items(ask("particle_picking", project / "micrographs_ctf.star"))]
    assert [each.micrograph.pixel_size for each in inputs if isinstance(each, PickingInput)] == [1.5, 1.6]
    assert [each.micrograph.optics.amplitude_contrast for each in inputs if isinstance(each, PickingInput)] == [0.07, 0.1]


def test_picking_gets_the_ctf_of_the_star_file(project: Path) -> None:
    first = find_items(ask("particle_picking", project / "micrographs_ctf.star"))[0].input
    assert isinstance(first, PickingInput)
    assert first.ctf is not None
    assert (first.ctf.defocus_u, first.ctf.defocus_v, first.ctf.defocus_angle) == (12000, 11000, 33)


def test_plain_micrographs_get_their_ctf_from_the_star_file_beside(project: Path) -> None:
    beside = Beside(ctf=project / "micrographs_ctf.star")
    [item] = find_items(ask("particle_picking", project / "motion" / "b.mrc", beside=beside))
    assert isinstance(item.input, PickingInput)
    assert item.input.ctf is not None
    assert item.input.ctf.defocus_u == 9000


def test_extraction_takes_micrographs_that_have_picks(project: Path) -> None:
    beside = Beside(picks=str(project / "picks" / "*_autopick.star"), diameter=150)
    [item] = find_items(ask("particle_extraction", project / "micrographs_ctf.star", beside=beside))
    assert isinstance(item.input, ExtractionInput)
    assert item.name == "a"
    assert (item.input.picks.count, item.input.picks.diameter) == (3, 150)
    assert item.input.ctf is not None


def test_a_folder_of_picks_will_do(project: Path) -> None:
    beside = Beside(picks=str(project / "picks"), diameter=150)
    assert len(find_items(ask("particle_extraction", project / "micrographs_ctf.star", beside=beside))) == 1


def test_training_takes_all_micrographs_with_picks_as_one(project: Path) -> None:
    beside = Beside(picks=str(project / "picks"), diameter=120.0)
    [item] = find_items(ask("picker_training", project / "micrographs_ctf.star", beside=beside))
    assert isinstance(item.input, PickerTrainingInput)
    assert [each.micrograph.name for each in item.input.items] == ["a"]
    assert item.input.kept is None
    missing = Beside(picks=str(project / "picks"), diameter=120.0, kept=project / "none.star")
    with pytest.raises(BadInput, match=r"none\.star"):
        find_items(ask("picker_training", project / "micrographs_ctf.star", beside=missing))


def test_picks_say_the_diameter_themselves(project: Path) -> None:
    blocks = {"": {"rlnCoordinateX": [1.0], "rlnCoordinateY": [1.0]}, "picking": {"rlnParticleDiameter": [123.0]}}
    write_star(project / "motion" / "b_autopick.star", blocks)
    [item] = find_items(ask("particle_extraction", project / "micrographs_ctf.star"))
    assert isinstance(item.input, ExtractionInput)
    assert (item.name, item.input.picks.diameter) == ("b", 123)


def test_a_diameter_nobody_says_is_asked_for(project: Path) -> None:
    with pytest.raises(BadInput, match="say it with --diameter"):
        find_items(ask("particle_extraction", project / "micrographs_ctf.star", beside=Beside(picks=str(project / "picks"))))


def test_no_picks_at_all_is_said(project: Path) -> None:
    with pytest.raises(BadInput, match="no picks for any micrograph"):
        find_items(ask("particle_extraction", project / "micrographs_ctf.star"))
    (project / "empty").mkdir()
    for where, said in (("empty", r"no NAME_autopick\.star in .*empty"), ("nowhere", r"--picks: .*nowhere is no folder")):
        with pytest.raises(BadInput, match=said):
            find_items(ask("particle_extraction", project / "micrographs_ctf.star", beside=Beside(picks=str(project / where))))


def test_star_files_of_relion_2_have_their_optics_in_the_rows(tmp_path: Path) -> None:
    make_mrc(tmp_path / "a.mrc", 1.1)
    columns = {
        "rlnMicrographName": ["a.mrc"],
        "rlnVoltage": [200.0],
        "rlnSphericalAberration": [0.01],
        "rlnAmplitudeContrast": [0.08],
        "rlnDefocusU": [5000.0],
        "rlnDefocusV": [4000.0],
        "rlnDefocusAngle": [1.0],
    }
    write_star(tmp_path / "old.star", {"": columns})
    [item] = find_items(ask("particle_picking", tmp_path / "old.star"))
    assert isinstance(item.input, PickingInput)
    assert item.input.micrograph.optics.voltage == 200
    assert item.input.micrograph.pixel_size == pytest.approx(1.1)


@pytest.mark.parametrize(("name", "content", "reason"), [
    ("x.star", "data_\n\nloop_\n_rlnVoltage\n300\n", "lists no micrographs"),
    ("x.mrc", "", "is empty"),
    ("y.star", "data_\n\nloop_\n_rlnMicrographName\nnot/there.mrc\n", "names not/there.mrc"),
])  # fmt: skip
def test_files_that_do_not_suit_are_named(tmp_path: Path, name: str, content: str, reason: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadInput, match=rf"{name}.*{reason}"):
        find_items(ask("fft", tmp_path / name))


def test_a_file_that_cannot_be_read_is_set_aside_and_stops_no_other(tmp_path: Path) -> None:
    good, bad = make_mrc(tmp_path / "good.mrc"), tmp_path / "bad.mrc"
    bad.write_bytes(b"no picture")
    for category in ("fft", "ctf_estimation", "micrograph_denoising", "particle_picking"):
        aside = SetAside()
        assert [item.name for item in find_items(ask(category, bad, good), aside)] == ["good"]
        assert [each.name for each in aside.files] == ["bad"]
        assert str(bad) in aside.files[0].reason
    write_star(tmp_path / "two.star", {"micrographs": {"rlnMicrographName": ["gone.mrc", "bad.mrc", "good.mrc"]}})
    aside = SetAside()
    assert [item.name for item in find_items(ask("fft", tmp_path / "two.star"), aside)] == ["good"]
    assert [each.name for each in aside.files] == ["gone", "bad"]
    movie = make_mrc(tmp_path / "movie.mrc", frames=3)
    aside = SetAside()
    assert [item.name for item in find_items(ask("motion_correction", bad, movie), aside)] == ["movie"]
    assert [each.name for each in aside.files] == ["bad"]


def test_missing_files_and_none_are_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.mrc does not exist"):
        find_items(ask("fft", tmp_path / "gone.mrc"))
    with pytest.raises(BadInput, match="no files"):
        find_items(ask("fft"))


def test_pictures_of_a_grid_need_no_pixel_size(tmp_path: Path) -> None:
    picture = tmp_path / "square.png"
    picture.write_bytes(b"")
    [item] = find_items(ask("hole_detection", picture))
    assert isinstance(item.input, HoleInput)
    assert (item.name, item.input.image.pixel_size, item.input.image.stage) == ("square", None, None)
    atlas = make_mrc(tmp_path / "atlas.mrc", 9000.0)
    [item] = find_items(ask("square_detection", atlas))
    assert isinstance(item.input, SquareInput)
    assert item.input.image.pixel_size == 9000.0
    [item] = find_items(ask("square_detection", atlas, optics=OpticsOptions(pixel_size=8500.0)))
    assert isinstance(item.input, SquareInput)
    assert item.input.image.pixel_size == 8500.0


def test_the_place_of_a_picture_is_read_from_what_lies_beside(tmp_path: Path) -> None:
    atlas = make_mrc(tmp_path / "atlas.mrc", 9000.0)
    (tmp_path / "atlas.mrc.mdoc").write_text("PixelSpacing = 8800\n\n[ZValue = 0]\nStagePosition = 12.5 -30.25\nStageZ = 4.5\n")
    [item] = find_items(ask("square_detection", atlas))
    assert isinstance(item.input, SquareInput)
    image = item.input.image
    assert (image.pixel_size, image.stage, image.stage_z) == (8800.0, (12.5, -30.25), 4.5)


def test_a_pixel_size_that_cannot_be_is_said_with_its_file(tmp_path: Path) -> None:
    for category in ("micrograph_denoising", "particle_picking"):
        with pytest.raises(BadInput, match=r"a\.mrc: pixel_size = 0\.00\d+: .* greater than 0\.01"):
            find_items(ask(category, make_mrc(tmp_path / "a.mrc", 0.002)))
    atlas = make_mrc(tmp_path / "atlas.mrc")
    with pytest.raises(BadInput, match=r"atlas\.mrc: pixel_size = 2000000\.0: .* less than 1000000"):
        find_items(ask("square_detection", atlas, optics=OpticsOptions(pixel_size=2e6)))
    movie = make_mrc(tmp_path / "movie.mrc", frames=3)
    with pytest.raises(BadInput, match=r"movie\.mrc: pixel_size = 5000\.0"):
        find_items(ask("motion_correction", movie, optics=OpticsOptions(pixel_size=5000.0)))
    make_mrc(tmp_path / "boxes.mrcs", frames=1)
    optics = {"rlnOpticsGroup": ["1"], "rlnImagePixelSize": ["0"]}
    particles = {"rlnImageName": ["000001@boxes.mrcs"], "rlnOpticsGroup": ["1"]}
    write_star(tmp_path / "particles.star", {"optics": optics, "particles": particles})
    with pytest.raises(BadInput, match=r"particles\.star: pixel_size = 0\.0: .* greater than"):
        find_items(ask("two_d_classification", tmp_path / "particles.star"))


@pytest.mark.parametrize("size", [0.0, -1.5, float("nan"), float("inf")])
def test_a_pixel_size_that_is_none_is_not_taken_for_one_left_out(size: float) -> None:
    with pytest.raises(BadInput, match=r"--pixel-size .* above 0"):
        read_optics_options({"pixel_size": size})


def test_a_classification_begins_with_the_classes_of_an_earlier_run(tmp_path: Path) -> None:
    write_mrc(tmp_path / "boxes.mrcs", np.zeros((3, 32, 32), np.float32), 2.0)
    optics = {"rlnOpticsGroup": [1], "rlnImagePixelSize": [2.0]}
    write_star(
        tmp_path / "particles.star",
        {"optics": optics, "particles": {"rlnImageName": ["000001@boxes.mrcs"], "rlnOpticsGroup": ["1"]}},
    )
    before = tmp_path / "classes"
    request = ask("two_d_classification", tmp_path / "particles.star", beside=Beside(start=before))
    with pytest.raises(BadInput, match=r"--start: .*classes is no folder of 2D classes: there is no class_averages\.mrcs"):
        find_items(request)
    before.mkdir()
    write_mrc(before / "class_averages.mrcs", np.zeros((2, 24, 24), np.float32), 3.0)
    write_star(before / "class_averages.star", {"model_classes": {"rlnEstimatedResolution": [10.0, 12.0]}})
    [item] = find_items(request)
    assert isinstance(item.input, ClassificationInput)
    assert item.input.start is not None
    assert (item.input.start.averages, item.input.start.box) == (before / "class_averages.mrcs", 24)
    assert item.input.start.pixel_size == pytest.approx(3.0)
