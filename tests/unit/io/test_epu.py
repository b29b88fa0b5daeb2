"""EPU's files: real ones of three versions, with values that an independent reader expects of them."""

import json
from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.io.epu import EpuImage, read_epu_atlas, read_epu_image, read_epu_session, read_epu_square


@pytest.fixture
def epu(real_data: Path) -> Path:
    return real_data / "epu"


@pytest.fixture
def falcon(epu: Path) -> list[EpuImage]:
    return [read_epu_image(path) for path in sorted((epu / "3.8.1-falcon4i" / "xml").glob("*.xml"))]


def test_falcon_images_have_the_expected_metadata(epu: Path, falcon: list[EpuImage]) -> None:
    expected = json.loads((epu / "3.8.1-falcon4i" / "xml_correct.json").read_text())
    acquisition, instrument = expected["acquisition"], expected["instrument"]
    assert len(falcon) == acquisition["images_generated"]
    first = falcon[0]
    assert first.voltage == instrument["acceleration_voltage"]["value"]
    assert first.instrument == instrument["microscope"]["model"]
    assert first.pixel_size == pytest.approx(acquisition["pixel_size"]["value"], rel=1e-9)
    assert first.magnification == acquisition["nominal_magnification"]
    assert first.exposure_time == acquisition["exposure_time"]["value"]
    assert first.shape == (acquisition["image_size"]["height"], acquisition["image_size"]["width"])
    assert first.binning == acquisition["binning_camera"]["height"]
    assert first.detector is not None
    assert first.detector.startswith(acquisition["detectors"][0]["name"])
    assert first.phase_plate is acquisition["specialist_optics"]["phaseplate"]["used"]
    assert first.software == acquisition["microscope_software"] + " 3.8.1.7603"
    assert first.taken_at is not None
    assert first.taken_at.startswith(acquisition["date_time"][:19])
    for name, shifts in (
        ("beamshift", [image.beam_shift for image in falcon]),
        ("imageshift", [i.image_shift for i in falcon]),
    ):
        for axis, index in (("x", 0), ("y", 1)):
            values = [shift[index] for shift in shifts if shift]
            assert min(values) == pytest.approx(acquisition[name][f"{axis}_min"]["value"])
            assert max(values) == pytest.approx(acquisition[name][f"{axis}_max"]["value"])


def test_exposure_is_per_area_of_specimen_and_defocus_the_one_applied(falcon: list[EpuImage]) -> None:
    exposures = [image.exposure for image in falcon if image.exposure]
    assert sum(exposures) / 2 == pytest.approx(27.5, abs=0.05)  # not the 4.7 e/pixel on the camera
    assert [image.applied_defocus for image in falcon] == [4000, 4000]  # not the lens' read-out of 3 µm
    assert falcon[0].gain == "20240830_103455_EER_GainReference.gain"
    assert falcon[0].stage == pytest.approx((-537.1455501, -71.894112, -42.2044258112))


def test_images_of_all_levels_and_versions_are_read(epu: Path) -> None:
    images = {path.name: read_epu_image(path) for path in epu.rglob("*.xml")}  # one is there twice
    assert len(images) == 13
    exposure = images["FoilHole_9015883_Data_9017347_6_20250108_154915.xml"]
    assert (exposure.fractions, exposure.shape, exposure.binning) == (50, (2046, 2880), 2)
    assert exposure.exposure == pytest.approx(14.41, abs=0.005)
    assert exposure.applied_defocus == 27000
    square = images["GridSquare_20240406_102420.xml"]
    assert (square.magnification, square.software) == (470, "EPU 3.7.0.6930")
    assert square.pixel_size == pytest.approx(415.6276, abs=1e-3)


@pytest.mark.parametrize(
    ("version", "name", "squares"),
    [
        ("3.9.1", "Supervisor_20250108_101446_62_cm40593-1_EPU", 228),
        ("3.7.0/EPU_session", "Supervisor_20240405_115113_0_SmartEPU_ApoF", 222),
    ],
)
def test_session_files(epu: Path, version: str, name: str, squares: int) -> None:
    session = read_epu_session(epu / version / "EpuSession.dm")
    assert (session.name, len(session.squares), session.grid) == (name, squares, "HoleyCarbon")
    assert session.movie_format == "Tiff Lzw Non-Gain normalized"
    assert session.atlas is not None
    assert session.atlas.endswith("Atlas.dm")


def test_atlas_tells_where_tiles_and_squares_lie(epu: Path) -> None:
    [path] = (epu / "3.7.0").rglob("Atlas.dm")
    atlas = read_epu_atlas(path)
    assert (atlas.image, len(atlas.tiles), len(atlas.squares)) == ("Atlas_4590151", 35, 222)
    assert atlas.tiles[0].image == "Tile_4590157_0_4590151"
    node = next(each for each in atlas.squares if each.number == "4590776")
    square = read_epu_square(epu / "3.7.0" / "GridSquare_4590776.dm")
    assert square.number == node.number
    assert node.stage[:2] == pytest.approx(square.stage[:2], abs=30)  # µm: centred on again at higher magnification
    session = read_epu_session(epu / "3.7.0" / "EPU_session" / "EpuSession.dm")
    assert {each.number for each in atlas.squares} == set(session.squares)


def test_grid_square_lists_its_holes(epu: Path) -> None:
    square = read_epu_square(epu / "3.7.0" / "GridSquare_4590776.dm")
    assert (square.state, square.selected, square.image) == ("InProgress", True, "GridSquare_20240406_102420")
    assert len(square.holes) == 570
    assert sum(hole.state == "Completed" for hole in square.holes) == 217
    first = square.holes[0]
    assert (first.number, first.image) == ("5665438", "FoilHole_5665438_20240406_102451")
    assert first.stage == pytest.approx((-42.5654773846, -559.457644542, 92.9910275872))


def test_other_and_damaged_files_are_refused(epu: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not <EpuSessionXml>"):
        read_epu_session(epu / "3.9.1" / "Atlas.dm")
    whole = (epu / "3.9.1" / "EpuSession.dm").read_bytes()
    (tmp_path / "EpuSession.dm").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"EpuSession\.dm: damaged XML"):
        read_epu_session(tmp_path / "EpuSession.dm")


MINIMAL = '<MicroscopeImage xmlns="x"><CustomData>{}</CustomData></MicroscopeImage>'
PAIR = "<KeyValueOfstringanyType><Key>{}</Key><Value>{}</Value></KeyValueOfstringanyType>"


@pytest.mark.parametrize("dose", ["0", "-1", "NaN", "1e999", "much"])
def test_an_exposure_that_is_none_is_unknown(tmp_path: Path, dose: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(MINIMAL.format(PAIR.format("Dose", dose)))
    image = read_epu_image(path)
    assert image.exposure is None
    assert (image.pixel_size, image.stage, image.shape) == (None, (None, None, None), None)
