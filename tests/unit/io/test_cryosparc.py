"""cryoSPARC's tables: the files themselves, and what they mean, pinned by a real pair: the same particles as `.cs` and STAR."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from magellon.errors import BadInput
from magellon.io.cryosparc import CsGroup, CsResult, Rows, find_slots, make_group, read_cs, read_csg, write_cs, write_csg
from magellon.io.cryosparc_particles import BRIGHT, DARK, ParticleContext, assemble_rows, make_particle_rows
from magellon.io.cryosparc_poses import make_euler_angles, make_rotation_vectors
from magellon.io.cryosparc_star import convert_cs_to_star, make_particle_tables
from magellon.io.mrc import read_mrc
from magellon.io.mrc_header import read_mrc_header
from magellon.io.star import StarTable, read_star, write_star

PAIR = "empiar_10076_7"


@pytest.fixture
def pair(real_data: Path) -> Path:
    return real_data / "particles"


def context(folder: Path | None = None, sign: float = BRIGHT, shape: tuple[int, int] | None = (3000, 4000)) -> ParticleContext:
    def measure(stack: str) -> int:
        return read_mrc_header(folder / stack).width if folder else 64

    return ParticleContext(measure_box=measure, measure_micrograph=lambda name: shape, sign=sign)


def own(rows: Rows, *names: str) -> Rows:
    """The fields that two programs must agree on: all but those numbered by whoever wrote the file."""
    numbered = {"uid", "blob/import_sig", "ctf/exp_group_id", *names}
    return {name: rows[name].tolist() for name in rows.dtype.names or () if name not in numbered}  # type: ignore[return-value]


# The files


def test_a_real_file_is_written_again_byte_for_byte(pair: Path, tmp_path: Path) -> None:
    rows = read_cs(pair / f"{PAIR}.cs")
    write_cs(tmp_path / "again.cs", rows)
    again = read_cs(tmp_path / "again.cs")
    assert again.dtype == rows.dtype
    assert again.tobytes() == rows.tobytes()
    assert find_slots(rows) == ["blob", "ctf"]


def make_rows(count: int = 3) -> Rows:
    return assemble_rows(
        {
            "uid": np.arange(1, count + 1, dtype=np.uint64),
            "blob/path": np.array([b"a.mrcs"] * count),
            "ctf/df1_A": np.linspace(1e4, 2e4, count, dtype=np.float32),
        }
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a .cs file"),
        (b"hello, world", "not a .cs file"),
        (b"\x94CSDAT" + b"\0" * 40, "compressed form"),
        (b"\x93NUMPY\x01\x00", "header is damaged"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "bad.cs").write_bytes(content)
    with pytest.raises(BadInput, match=rf"bad\.cs.*{words}"):
        read_cs(tmp_path / "bad.cs")
    with pytest.raises(BadInput, match=r"no-such\.cs"):
        read_cs(tmp_path / "no-such.cs")


def test_truncated_and_other_arrays_are_refused(tmp_path: Path) -> None:
    write_cs(tmp_path / "whole.cs", make_rows())
    whole = (tmp_path / "whole.cs").read_bytes()
    (tmp_path / "cut.cs").write_bytes(whole[:-5])
    with pytest.raises(BadInput, match=r"cut\.cs.*truncated"):
        read_cs(tmp_path / "cut.cs")
    with open(tmp_path / "plain.cs", "wb") as file:
        np.save(file, np.zeros((3, 3)))
    with pytest.raises(BadInput, match="not plain rows with named fields"):
        read_cs(tmp_path / "plain.cs")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    with open(tmp_path / "evil.cs", "wb") as file:
        np.save(file, np.array([("x",)], dtype=[("uid", object)]), allow_pickle=True)
    with pytest.raises(BadInput, match=r"evil\.cs"):
        read_cs(tmp_path / "evil.cs")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    twice = make_rows()
    twice["uid"] = 7
    for rows, words in ((twice, "same uid"), (np.zeros(3), "named fields"), (np.zeros(1, dtype=[("uid", object)]), "objects")):
        with pytest.raises(ValueError, match=words):
            write_cs(tmp_path / "a.cs", rows)  # type: ignore[arg-type]


def test_groups_come_back(tmp_path: Path) -> None:
    group = make_group("particles", "particle", "Particles of grid7", "particles.cs", make_rows())
    assert group.results["blob"] == CsResult("particles.cs", "particle.blob", 3)
    write_csg(tmp_path / "particles.csg", group)
    assert read_csg(tmp_path / "particles.csg") == group
    text = (tmp_path / "particles.csg").read_text()
    assert "metafile: '>particles.cs'" in text


def test_a_group_as_cryosparc_writes_it(tmp_path: Path) -> None:
    text = """created: 2021-03-04 05:06:07.890123
group:
  description: All particles that were processed, including
    alignments
  name: particles
  title: All particles
  type: particle
results:
  blob:
    metafile: '>J12_particles_exported.cs'
    num_items: 456024
    type: particle.blob
version: v4.4.1
"""
    (tmp_path / "a.csg").write_text(text)
    expected = CsGroup(
        "particles",
        "particle",
        {"blob": CsResult("J12_particles_exported.cs", "particle.blob", 456024)},
        "All particles",
        "All particles that were processed, including alignments",
    )
    assert read_csg(tmp_path / "a.csg") == expected


def test_changed_bytes_are_read_or_refused(tmp_path: Path) -> None:
    """Never anything but `BadInput`, wherever a byte of the header or of the rows is another."""
    write_cs(tmp_path / "a.cs", make_rows())
    whole = (tmp_path / "a.cs").read_bytes()
    outcomes: set[object] = set()
    for place in range(len(whole)):
        for value in (0, 0x27, 0x39, 0xFF):
            (tmp_path / "a.cs").write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                outcomes.add(len(read_cs(tmp_path / "a.cs")))
            except BadInput as error:
                outcomes.add(Path(str(error).partition(":")[0]).name)
    assert outcomes == {3, "a.cs"}


@pytest.mark.parametrize("text", ["", "a: [", "group: 3", "group: {name: a, type: b}\nresults: 7", "\x00"])
def test_what_is_no_group_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csg").write_text(text)
    with pytest.raises(BadInput, match=r"a\.csg: not a \.csg file"):
        read_csg(tmp_path / "a.csg")


# What they mean


def test_the_star_file_gives_the_real_cs(pair: Path) -> None:
    """Every field to the last bit: names, indices from 0, box, pixel size, sign, and the CTF with its angle in radians."""
    real = read_cs(pair / f"{PAIR}.cs")
    made = make_particle_rows(read_star(pair / f"{PAIR}.star")[""], None, context(pair, sign=DARK))
    assert made.dtype.names == real.dtype.names
    assert own(made) == own(real)
    assert set(made["ctf/exp_group_id"]) == {0}  # numbered by the import in the real one
    assert len(set(made["uid"].tolist())) == 7
    for name in real.dtype.names or ():
        kind = made.dtype[name]
        assert kind.kind == "S" or kind == real.dtype[name], name


def test_the_real_cs_gives_the_star_file(pair: Path, tmp_path: Path) -> None:
    assert convert_cs_to_star(pair / f"{PAIR}.cs", tmp_path / "made.star") == 7
    made, real = read_star(tmp_path / "made.star"), read_star(pair / f"{PAIR}.star")[""]
    particles, optics = made["particles"], made["optics"]
    numbers = [(int(name.partition("@")[0]), name.partition("@")[2]) for name in real.texts("rlnImageName")]
    assert [(int(name.partition("@")[0]), name.partition("@")[2]) for name in particles.texts("rlnImageName")] == numbers
    for label in ("rlnDefocusU", "rlnDefocusV"):
        assert particles.floats(label) == pytest.approx(real.floats(label), abs=5e-4)  # float32 of 15000
    assert particles.floats("rlnDefocusAngle") == pytest.approx(real.floats("rlnDefocusAngle"), abs=1e-6)
    assert optics.floats("rlnVoltage") == [300]
    assert optics.floats("rlnSphericalAberration") == [2.7]
    assert optics.floats("rlnAmplitudeContrast") == [0.07]
    assert optics.floats("rlnImagePixelSize") == pytest.approx([5e4 / 38168], rel=1e-7)
    assert optics.ints("rlnImageSize") == [320]
    assert "rlnMagMat00" not in optics  # anisomag 0 is no distortion
    assert "rlnBeamTiltX" not in optics


def test_the_real_cs_survives_the_way_through_a_star_file(pair: Path, tmp_path: Path) -> None:
    real = read_cs(pair / f"{PAIR}.cs")
    convert_cs_to_star(pair / f"{PAIR}.cs", tmp_path / "made.star")
    tables = read_star(tmp_path / "made.star")
    again = make_particle_rows(tables["particles"], tables["optics"], context(sign=DARK, shape=None))
    exact, angle = own(again, "ctf/df_angle_rad"), "ctf/df_angle_rad"
    assert exact == own(real, "ctf/df_angle_rad")
    assert np.abs(again[angle] - real[angle]).max() <= np.spacing(real[angle]).max()


def test_the_sign_of_the_real_pair_is_that_of_dark_particles(pair: Path) -> None:
    images, signs = read_mrc(pair / f"{PAIR}.mrc"), read_cs(pair / f"{PAIR}.cs")["blob/sign"]
    y, x = np.mgrid[:320, :320] - 160
    inside, outside = np.hypot(x, y) < 60, np.hypot(x, y) > 140
    for image, sign in zip(images, signs, strict=True):
        assert sign == DARK
        assert image[inside].mean() < image[outside].mean()


# Fields that the pair does not have


def make_tables(**columns: list[Any]) -> tuple[StarTable, StarTable]:
    optics = {
        "rlnOpticsGroupName": ["a", "b"],
        "rlnOpticsGroup": [1, 2],
        "rlnMicrographPixelSize": [1.0, 1.25],
        "rlnVoltage": [300.0, 200.0],
        "rlnSphericalAberration": [2.7, 1.4],
        "rlnAmplitudeContrast": [0.1, 0.07],
        "rlnImagePixelSize": [2.0, 2.5],
        "rlnImageSize": [64, 48],
    }
    rows: dict[str, list[Any]] = {
        "rlnCoordinateX": [400.0, 3000.0],
        "rlnCoordinateY": [300.0, 750.0],
        "rlnOriginXAngst": [0.5, -1.0],
        "rlnOriginYAngst": [0.25, 2.0],
        "rlnImageName": ["000001@x.mrcs", "000007@y.mrcs"],
        "rlnMicrographName": ["x.mrc", "y.mrc"],
        "rlnOpticsGroup": [1, 2],
        "rlnDefocusU": [12000.0, 13000.5],
        "rlnDefocusV": [11000.0, 12500.25],
        "rlnDefocusAngle": [-30.0, 85.0],
        "rlnPhaseShift": [90.0, 0.0],
        "rlnRandomSubset": [1, 2],
    }
    return StarTable(rows | columns), StarTable(optics)


def test_locations_are_fractions_from_row_0_of_width_and_height() -> None:
    """Without an alignment they are the particles' true centres: trunc(coordinate) - origin / pixel size."""
    particles, optics = make_tables()
    rows = make_particle_rows(particles, optics, context())
    assert rows["location/micrograph_shape"].tolist() == [[3000, 4000]] * 2  # (y, x)
    assert rows["location/center_x_frac"] == pytest.approx([(400 - 0.5) / 4000, (3000 + 0.8) / 4000], rel=1e-6)
    assert rows["location/center_y_frac"] == pytest.approx([(300 - 0.25) / 3000, (750 - 1.6) / 3000], rel=1e-6)
    assert rows["location/micrograph_psize_A"].tolist() == [1.0, 1.25]
    assert rows["location/exp_group_id"].tolist() == rows["ctf/exp_group_id"].tolist() == [0, 1]
    assert rows["ctf/phase_shift_rad"] == pytest.approx([np.pi / 2, 0])
    assert not [name for name in rows.dtype.names or () if name.startswith("alignments")]


def test_a_micrograph_of_unknown_size_has_no_locations() -> None:
    particles, optics = make_tables()
    assert find_slots(make_particle_rows(particles, optics, context(shape=None))) == ["blob", "ctf"]


def test_in_plane_alignments() -> None:
    particles, optics = make_tables(rlnAnglePsi=[30.0, -120.0], rlnClassNumber=[1, 5])
    rows = make_particle_rows(particles, optics, context())
    assert find_slots(rows) == ["blob", "ctf", "location", "alignments2D"]
    assert rows["alignments2D/pose"] == pytest.approx(np.deg2rad([30, -120]))
    assert rows["alignments2D/shift"] == pytest.approx(np.array([[0.25, 0.125], [-0.4, 0.8]]))  # (x, y) in pixels of the box
    assert rows["alignments2D/psize_A"].tolist() == [2.0, 2.5]
    assert rows["alignments2D/class"].tolist() == [0, 4]
    assert rows["alignments2D/split"].tolist() == [0, 1]
    assert rows["location/center_x_frac"] == pytest.approx([0.1, 0.75])  # of the box: the shift says the rest


def test_picks_that_belong_to_no_class_are_not_aligned() -> None:
    particles, optics = make_tables(rlnAnglePsi=[0.0, 0.0], rlnClassNumber=[0, 0])
    assert "alignments2D" not in find_slots(make_particle_rows(particles, optics, context()))


def test_directions_are_rotation_vectors() -> None:
    particles, optics = make_tables(rlnAngleRot=[40.0, 0.0], rlnAngleTilt=[70.0, 10.0], rlnAnglePsi=[-20.0, 0.0])
    rows = make_particle_rows(particles, optics, context())
    assert "alignments2D" not in find_slots(rows)
    inverse = Rotation.from_rotvec(rows["alignments3D/pose"].astype(float)).as_matrix()
    rot, tilt, psi = np.deg2rad([40.0, 70.0, -20.0])
    # RELION's matrix of rot, tilt and psi takes the object to the image: its third row is the direction of the beam.
    beam = [np.cos(rot) * np.sin(tilt), np.sin(rot) * np.sin(tilt), np.cos(tilt)]
    assert inverse[0].T[2] == pytest.approx(beam, abs=1e-6)
    assert inverse[0].T[:, 2] == pytest.approx(
        [-np.cos(psi) * np.sin(tilt), np.sin(psi) * np.sin(tilt), np.cos(tilt)], abs=1e-6
    )
    assert rows["alignments3D/pose"][1] == pytest.approx([0, np.deg2rad(10), 0])


def test_an_angle_in_the_plane_is_a_vector_along_z() -> None:
    assert make_rotation_vectors(np.array([[0.0, 0.0, 35.0]]))[0] == pytest.approx([0, 0, np.deg2rad(35)])


@pytest.mark.parametrize("tilt", [0.0, 1e-3, 90.0, 179.999, 180.0])
def test_angles_come_back_as_the_same_rotation(tilt: float) -> None:
    rng = np.random.default_rng(0)
    angles = np.stack([rng.uniform(-180, 180, 50), np.full(50, tilt), rng.uniform(-180, 180, 50)], axis=1)
    again = make_euler_angles(make_rotation_vectors(angles))
    difference = Rotation.from_euler("ZYZ", angles, degrees=True).inv() * Rotation.from_euler("ZYZ", again, degrees=True)
    assert np.rad2deg(difference.magnitude()).max() < 1e-4
    if 0 < tilt < 180:
        assert again == pytest.approx(angles, abs=1e-4)


def test_everything_comes_back_from_a_cs_file(tmp_path: Path) -> None:
    angles = {"rlnAngleRot": [40.0, -10.0], "rlnAngleTilt": [70.0, 110.0], "rlnAnglePsi": [-20.0, 160.0]}
    tilts = {"rlnBeamTiltX": [0.1, -0.2], "rlnBeamTiltY": [0.0, 0.3]}
    matrix = {
        "rlnMagMat00": [1.01, 1.0], "rlnMagMat01": [0.002, 0.0], "rlnMagMat10": [-0.001, 0.0], "rlnMagMat11": [0.99, 1.0],
    }  # fmt: skip
    particles, optics = make_tables(**angles, rlnClassNumber=[1, 2])
    optics.update(tilts | matrix)
    rows = make_particle_rows(particles, optics, context())
    assert rows["ctf/anisomag"][0] == pytest.approx([0.01, 0.002, -0.001, -0.01], rel=1e-5)
    assert rows["ctf/tilt_A"][0] == pytest.approx([1e-4 * 2.7e7, 0], rel=1e-5)
    write_star(tmp_path / "a.star", make_particle_tables(rows))
    again = read_star(tmp_path / "a.star")
    for label, values in particles.items():
        if isinstance(values[0], float):
            assert again["particles"].floats(label) == pytest.approx(values, rel=1e-6, abs=2e-4), label
        else:
            assert again["particles"].texts(label) == particles.texts(label), label
    for label, values in (tilts | matrix).items():
        assert again["optics"].floats(label) == pytest.approx(values, abs=2e-6), label
    twice = make_particle_rows(again["particles"], again["optics"], context())
    assert twice.dtype.names == rows.dtype.names
    for name in rows.dtype.names or ():
        if rows[name].dtype.kind == "f":
            assert twice[name] == pytest.approx(rows[name], rel=1e-6, abs=1e-6), name
        else:
            assert twice[name].tolist() == rows[name].tolist(), name


def test_the_same_particles_have_the_same_numbers_and_others_do_not() -> None:
    particles, optics = make_tables()
    first, again = (make_particle_rows(particles, optics, context()) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    other = make_particle_rows(particles, optics, ParticleContext(lambda stack: 64, salt="another session"))
    assert not set(first["uid"].tolist()) & set(other["uid"].tolist())
    many = StarTable(
        {"rlnImageName": [f"{row}@{stack}" for stack in ("a", "b") for row in range(1, 5001)], "rlnPixelSize": ["1"] * 10000}
    )
    assert len(np.unique(make_particle_rows(many, None, context())["uid"])) == 10000


@pytest.mark.parametrize("name", ["x.mrcs", "0@x.mrcs", "a@x.mrcs"])
def test_image_names_that_are_none_are_refused(name: str) -> None:
    particles, optics = make_tables(rlnImageName=["000001@x.mrcs", name])
    with pytest.raises(BadInput, match=rf"row 2 is '{name}'"):
        make_particle_rows(particles, optics, context())


def test_a_group_that_is_not_in_the_optics_table_is_refused() -> None:
    particles, optics = make_tables(rlnOpticsGroup=[1, 3])
    with pytest.raises(BadInput, match="optics group 3"):
        make_particle_rows(particles, optics, context())


def test_real_particles_of_relion_5_come_back(real_data: Path, tmp_path: Path) -> None:
    """2374 particles of 24 micrographs: what both formats hold is the same after the way there and back."""
    tables = read_star(real_data / "particles" / "betagal" / "particles.star")
    rows = make_particle_rows(tables["particles"], tables["optics"], context(shape=(3710, 3838)))
    assert len(np.unique(rows["uid"])) == len(rows) == tables["particles"].rows
    write_star(tmp_path / "a.star", make_particle_tables(rows))
    again = read_star(tmp_path / "a.star")["particles"]
    for label, error in {"rlnCoordinateX": 4e-4, "rlnCoordinateY": 4e-4, "rlnDefocusU": 2e-3, "rlnDefocusAngle": 1e-5}.items():
        assert np.abs(np.subtract(again.floats(label), tables["particles"].floats(label))).max() <= error, label
    assert again.texts("rlnImageName") == tables["particles"].texts("rlnImageName")
    assert again.texts("rlnMicrographName") == tables["particles"].texts("rlnMicrographName")


def test_a_cs_file_without_images_is_no_particle_file(tmp_path: Path) -> None:
    write_cs(tmp_path / "a.cs", assemble_rows({"uid": np.arange(2, dtype=np.uint64), "ctf/df1_A": np.zeros(2, np.float32)}))
    with pytest.raises(BadInput, match=r"a\.cs: no field blob/path"):
        convert_cs_to_star(tmp_path / "a.cs", tmp_path / "a.star")
