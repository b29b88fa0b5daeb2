"""SerialEM's files: real ones, with values that an independent reader expects of them; navigator files written here."""

import json
from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.io.serialem import SerialEmImage, parse_mdoc, read_mdoc, read_navigator


@pytest.fixture
def cases(real_data: Path) -> Path:
    return real_data / "serialem" / "edge-cases"


@pytest.fixture
def movies(real_data: Path) -> list[SerialEmImage]:
    return [image for path in sorted((real_data / "serialem" / "spa-k2").glob("*.mdoc")) for image in read_mdoc(path)]


def test_movies_have_the_expected_metadata(real_data: Path, movies: list[SerialEmImage]) -> None:
    expected = json.loads((real_data / "serialem" / "spa-k2" / "mdocspa_correct.json").read_text())
    acquisition, instrument = expected["acquisition"], expected["instrument"]
    assert len(movies) == acquisition["images_generated"]
    first = movies[0]
    assert first.voltage == instrument["acceleration_voltage"]["value"]
    assert first.exposure == acquisition["dose_per_movie"]["value"]
    assert first.exposure_time == acquisition["exposure_time"]["value"]
    assert first.frames == acquisition["frames_per_movie"]
    assert first.magnification == acquisition["nominal_magnification"]
    assert first.pixel_size == acquisition["pixel_size"]["value"]
    assert first.binning == acquisition["binning_camera"]["height"]
    assert first.taken_at == acquisition["date_time"].rstrip("Z")
    assert first.applied_defocus == -10 * acquisition["nominal_defocus"]["minimal"]["value"]  # nm, underfocus negative
    measured = [image.measured_defocus for image in movies if image.measured_defocus]
    assert max(measured) == pytest.approx(-10 * acquisition["calibrated_defocus"]["minimal"]["value"])
    assert min(measured) == pytest.approx(-10 * acquisition["calibrated_defocus"]["maximal"]["value"])
    for axis, index in (("x", 0), ("y", 1)):
        shifts = [image.image_shift[index] for image in movies if image.image_shift]
        assert min(shifts) == acquisition["imageshift"][f"{axis}_min"]["value"]
        assert max(shifts) == acquisition["imageshift"][f"{axis}_max"]["value"]


def test_movies_name_their_files_and_place(movies: list[SerialEmImage]) -> None:
    first = movies[0]
    assert first.movie == "2023-09-25_14.13.07_Grid9-_template_0035.tif"
    assert first.gain == "CountRef_2023-09-25_13.01.28_Grid10-_template_0000.dm4"
    assert first.defects == "defects_2023-09-25_13.01.28_Grid10-_template_0000.txt"
    assert (first.stage, first.exposure_per_frame) == ((-47.2012, 28.4092, -13.1043), 0.98073)
    assert first.detector == "Gatan K2 Summit camera 0"


def test_an_exposure_of_zero_is_unknown_and_the_pattern_is_read(cases: Path) -> None:
    [image] = read_mdoc(cases / "20220605_75157_20220605-aav2spr_1-1_counted_frames.mrc.mdoc")
    assert (image.exposure, image.exposure_per_frame, image.frames) == (None, None, 46)
    assert (image.hole, image.item, image.binning) == (("1", "1"), "726", 8)


def test_sub_areas_of_a_movie_are_no_movies(cases: Path) -> None:
    [image] = read_mdoc(cases / "frame_set_multiple.mdoc")
    assert (image.section, image.frames, image.binning) == ("FrameSet", 243, 0.5)
    assert len(read_mdoc(cases / "frame_set_single.mdoc")) == 1


@pytest.mark.parametrize(("name", "count"), [("montage_section", 62), ("montage_section_multiple", 90), ("tilt_series", 41)])
def test_stacks_have_an_entry_for_each_image(cases: Path, name: str, count: int) -> None:
    images = read_mdoc(cases / f"{name}.mdoc")
    assert len(images) == count
    assert {image.section for image in images} == {"ZValue"}
    assert all(image.pixel_size and image.stage[0] is not None for image in images)
    assert [image.movie is not None for image in images] == [name == "tilt_series"] * count


@pytest.mark.parametrize("content", ["", "just words\nand more", "\0\1\2", "PixelSpacing = 1\n"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.mdoc"
    path.write_text(content)
    with pytest.raises(BadInput, match=r"a\.mdoc"):
        read_mdoc(path)


def test_odd_values_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "a.mdoc"
    lines = ["StagePosition = 1", "ImageShift = a b", "FrameDosesAndNumber = 1 2 3", "DateTime = 99-Xxx-99", "Binning = 0"]
    path.write_text("[FrameSet = 0]\n" + "\n".join(lines) + "\nMultishotHoleAndPosition = 3")
    [image] = read_mdoc(path)
    assert (image.stage, image.image_shift, image.taken_at, image.binning) == ((None, None, None), None, None, None)
    assert (image.frames, image.exposure_per_frame, image.hole) == (2, 1.0, None)


def test_titles_are_kept_apart() -> None:
    mdoc = parse_mdoc("A = 1\n[T = first]\n[T = second = 2]\n[ZValue = 0]\nB = 2\n")
    assert mdoc.titles == ("first", "second = 2")
    assert (mdoc.fields, mdoc.sections[0].fields) == ({"A": "1"}, {"B": "2"})


TEXT = """AdocVersion = 2.00
LastSavedAs = D:\\nav.nav

[Item = 1-A]
StageXYZ = 1.5 -2.5 30
Type = 2
MapFile = D:\\lmm.mrc
MapID = 101
MapMagInd = 4
MapMontage = 1

[Item = 7]
StageXYZ = 4 5 6
Type = 0
DrawnID = 101
Acquire = 1
"""
XML = """<?xml version="1.0" encoding="utf-8"?>
<navigator><PreData><AdocVersion>2.00</AdocVersion></PreData>
<Item name="1-A"><StageXYZ>1.5 -2.5 30</StageXYZ><Type>2</Type><MapFile>D:\\lmm.mrc</MapFile><MapID>101</MapID>
<MapMagInd>4</MapMagInd><MapMontage>1</MapMontage></Item>
<Item name="7"><StageXYZ>4 5 6</StageXYZ><Type>0</Type><DrawnID>101</DrawnID><Acquire>1</Acquire></Item></navigator>
"""


@pytest.mark.parametrize("content", [TEXT, XML])
def test_navigator_files_in_both_forms(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.nav"
    path.write_text(content)
    grid, hole = read_navigator(path)
    assert (grid.label, grid.kind, grid.number, grid.map_file, grid.montage) == ("1-A", "map", "101", "lmm.mrc", True)
    assert grid.stage == (1.5, -2.5, 30)
    assert (hole.label, hole.kind, hole.drawn_on, hole.acquire) == ("7", "point", "101", True)


@pytest.mark.parametrize("content", ["[Item = 1]\nType = 0", "<other/>", "<navigator>"])
def test_what_is_no_navigator_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.nav"
    path.write_text(content)
    with pytest.raises(BadInput, match=r"a\.nav"):
        read_navigator(path)
