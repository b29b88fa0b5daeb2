"""The `can-classifier` backend: classes, poses and files against truth, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from magellon.backends.can_classifier.backend import CanClassifier
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.contracts import BadInput, ClassificationInput, ClassificationItem, ClassificationOutput, Context, Particles
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import StarTable, read_star, write_star
from magellon.testing import check_backend
from magellon.testing.examples import PIXEL_SIZE, make_shape_particles

PARAMS = CanClassifierParams(classes=3, diameter=44.0, rounds=6, seeds="splitting")


def as_input(*particles: Particles) -> ClassificationInput:
    return ClassificationInput(items=tuple(ClassificationItem(particles=each) for each in particles))


def run(folder: Path, *particles: Particles, params: CanClassifierParams = PARAMS, **more: object) -> ClassificationOutput:
    folder.mkdir(parents=True)
    given = as_input(*particles).model_copy(update=more)
    return CanClassifier().run(given, params, Context(workdir=folder, seed=3))


def rewrite(particles: Particles, change: dict[str, list[object]]) -> None:
    tables = read_star(particles.star)
    write_star(particles.star, {"optics": tables["optics"], "particles": {**tables["particles"], **change}})


def floats(table: StarTable, label: str) -> np.ndarray:
    return np.array(table.floats(label))


def test_shapes_are_told_apart_and_aligned(tmp_path: Path) -> None:
    particles = make_shape_particles(tmp_path / "in", noise=0.5)
    params = CanClassifierParams(classes=5, diameter=44.0, rounds=6)
    output = check_backend(CanClassifier, as_input(particles), params, workdir=tmp_path / "out")
    assert isinstance(output, ClassificationOutput)
    found = read_star(output.all_particles)["particles"]
    truth = read_star(tmp_path / "in" / "truth.star")["particles"]
    klass, shape = np.array(found.ints("rlnClassNumber")), np.array(truth.ints("rlnClassNumber"))
    assert output.count == len(klass) == 120
    table = np.array([[np.sum((klass == k) & (shape == s)) for s in (1, 2, 3)] for k in range(1, klass.max() + 1)])
    assert table.max(axis=1).sum() >= 0.95 * 120
    for k in range(1, klass.max() + 1):
        # All of a class are turned and moved from the truth by one rotation and one vector of the class.
        own = (klass == k) & (shape == 1 + table[k - 1].argmax())
        apart = np.radians(floats(found, "rlnAnglePsi") - floats(truth, "rlnAnglePsi"))[own]
        mean = np.angle(np.exp(1j * apart).mean())
        error = np.degrees(np.angle(np.exp(1j * (apart - mean))))
        assert np.median(np.abs(error)) < 4
        psi = np.radians(floats(found, "rlnAnglePsi"))[own]
        moved = [(floats(found, f"rlnOrigin{a}Angst") - floats(truth, f"rlnOrigin{a}Angst"))[own] for a in "XY"]
        upright = np.array([moved[0] * np.cos(psi) - moved[1] * np.sin(psi), moved[0] * np.sin(psi) + moved[1] * np.cos(psi)])
        assert np.median(np.abs(upright - np.median(upright, axis=1)[:, None])) < 0.5 * PIXEL_SIZE
    for k in range(1, klass.max() + 1):
        curve = read_star(output.classes.table)[f"model_class_{k}"]
        assert curve.floats("rlnAngstromResolution")[0] == pytest.approx(32 * PIXEL_SIZE)
        assert np.mean(curve.floats("rlnFourierShellCorrelation")[:4]) > 0.8
        unbiased = curve.ints("magellonUnbiased")
        assert unbiased[0] == 0
        assert unbiased == sorted(unbiased)
    averages = read_mrc(output.classes.averages)
    assert averages.shape == (output.classes_used, 32, 32)
    assert averages[:, 12:20, 12:20].mean() > averages[:, :3].mean() + 0.2


def test_kept_particles_are_those_of_selected_classes(tmp_path: Path) -> None:
    particles = make_shape_particles(tmp_path / "in", each=20)
    output = run(tmp_path / "out", particles, params=PARAMS.model_copy(update={"select": (1,), "reject": (2,)}))
    found, kept = read_star(output.all_particles)["particles"], read_star(output.particles)["particles"]
    selected = read_star(output.classes.table)["model_classes"].ints("rlnSelected")
    assert selected[:2] == [1, 0]
    junk = floats(found, "magellonJunkProbability")
    rows = zip(found["rlnImageName"], found.ints("rlnClassNumber"), junk, strict=True)
    expected = [name for name, k, chance in rows if k == 1 or (selected[k - 1] and chance < 0.5)]
    assert 0 < len(expected) < 60
    assert kept["rlnImageName"] == expected
    assert output.kept == len(expected)


def test_one_of_two_picks_on_the_same_particle_is_kept(tmp_path: Path) -> None:
    """Two boxes around one particle, 6 Å apart in the micrograph: once centred they are the same."""
    particles = make_shape_particles(tmp_path / "in", each=20)
    stack = read_mrc(tmp_path / "in" / "shapes.mrcs")
    stack[1] = np.roll(stack[0], -3, axis=1)
    write_mrc(tmp_path / "in" / "shapes.mrcs", stack, PIXEL_SIZE)
    x = [100.0 + 60 * number for number in range(60)]
    rewrite(particles, {"rlnCoordinateX": [x[0], x[0] + 3, *x[2:]]})
    output = run(tmp_path / "out", particles, params=PARAMS.model_copy(update={"select": (1, 2, 3)}))
    names = read_star(output.particles)["particles"]["rlnImageName"]
    assert len({"000001@shapes.mrcs", "000002@shapes.mrcs"} & set(names)) == 1
    assert len(names) == 59


def test_unusable_images_are_in_class_0(tmp_path: Path) -> None:
    particles = make_shape_particles(tmp_path / "in", each=20)
    stack = read_mrc(tmp_path / "in" / "shapes.mrcs")
    stack[3, 5, 5], stack[7], stack[11, 2, 3] = np.nan, 2.0, 1e25
    with open(tmp_path / "in" / "shapes.mrcs", "r+b") as file:
        file.seek(1024)
        file.write(stack.tobytes())
    output = run(tmp_path / "out", particles, params=PARAMS.model_copy(update={"select": (1, 2, 3)}))
    klass = read_star(output.all_particles)["particles"].ints("rlnClassNumber")
    assert [number for number, k in enumerate(klass) if k == 0] == [3, 7, 11]
    assert output.kept == 57


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [("rlnDefocusU", "nan", "nan"), ("rlnDefocusV", "1e30", r"1e\+30"), ("rlnOriginXAngst", "inf", "inf")],
)
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, column: str, value: str, said: str) -> None:
    particles = make_shape_particles(tmp_path / "in", each=20)
    columns = {label: ["0"] * 60 for label in ("rlnOriginXAngst", "rlnOriginYAngst", "rlnDefocusU", "rlnDefocusV")}
    columns[column][4] = value
    rewrite(particles, columns)
    with pytest.raises(BadInput, match=rf"{particles.star}: particle 5: .* {said}.*below 1e\+07"):
        run(tmp_path / "out", particles)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_fewer_particles_than_classes(tmp_path: Path, count: int, caplog: pytest.LogCaptureFixture) -> None:
    particles = make_shape_particles(tmp_path / "in", each=3)
    table = read_star(particles.star)
    few = {label: values[:count] for label, values in table["particles"].items()}
    write_star(particles.star, {"optics": table["optics"], "particles": few})
    output = run(tmp_path / "out", particles.model_copy(update={"count": count}))
    assert output.count == count
    assert 1 <= output.classes_used <= count
    assert f"3 classes of {count} particles are too many" in caplog.text


def test_many_files_of_a_session_get_its_names(tmp_path: Path) -> None:
    first, second = (make_shape_particles(tmp_path / name, each=10) for name in ("a", "b"))
    rewrite(second, {"extraColumn": ["1"] * 30})
    output = run(tmp_path / "out", first, second, folders={"particle_extraction": "particles", "micrograph": "mics"})
    table = read_star(output.all_particles)["particles"]
    assert table.rows == 60
    assert table["rlnImageName"][0] == "000001@particles/shapes.mrcs"
    assert table["rlnMicrographName"][0] == "mics/shapes.mrc"
    assert "extraColumn" not in table


def test_a_session_goes_on_from_its_classes(tmp_path: Path) -> None:
    particles = make_shape_particles(tmp_path / "in", noise=0.5)
    first = run(tmp_path / "out", particles)
    second = run(tmp_path / "again", particles, start=first.classes)
    before, after = (np.array(read_star(each.all_particles)["particles"].ints("rlnClassNumber")) for each in (first, second))
    table = np.array([[np.sum((before == a) & (after == b)) for b in (1, 2, 3)] for a in (1, 2, 3)])
    assert table.max(axis=1).sum() > 0.95 * 120


def test_boxes_of_different_sizes_are_refused(tmp_path: Path) -> None:
    first, second = make_shape_particles(tmp_path / "a", each=5), make_shape_particles(tmp_path / "b", each=5, side=48)
    with pytest.raises(BadInput, match=r"different sizes: .*a/shapes\.mrcs has 32 x 32 px, .*b/shapes\.mrcs 48 x 48 px"):
        run(tmp_path / "out", first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rlnImageName": ["000001@gone.mrcs"] * 15}, r"particles\.star: the stack gone\.mrcs is neither"),
        ({"rlnImageName": ["000099@shapes.mrcs"] * 15}, r"shapes\.mrcs: holds 15 images, but image 99 is named"),
        ({"rlnImageName": ["0@shapes.mrcs"] * 15}, r"does not begin with the number of an image"),
        ({"rlnOpticsGroup": [4] * 15}, "optics group 4 is not in the optics table"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, list[object]], message: str) -> None:
    particles = make_shape_particles(tmp_path / "in", each=5)
    rewrite(particles, change)
    with pytest.raises(BadInput, match=message):
        run(tmp_path / "out", particles)


@pytest.mark.parametrize(
    ("label", "value", "said"),
    [
        ("rlnVoltage", "0", "rlnVoltage of 0 kV: it must lie between 10 and 1500"),
        ("rlnVoltage", "300000", r"rlnVoltage of 300000 kV"),
        ("rlnSphericalAberration", "nan", "rlnSphericalAberration of nan mm"),
        ("rlnAmplitudeContrast", "7", "rlnAmplitudeContrast of 7: it must lie between 0 and 0.999"),
    ],
)
def test_constants_that_no_microscope_has_are_refused_where_they_are_used(
    tmp_path: Path, label: str, value: str, said: str
) -> None:
    particles = make_shape_particles(tmp_path / "in", each=5)
    tables = read_star(particles.star)
    blocks = {"optics": {**tables["optics"], label: [value]}, "particles": dict(tables["particles"])}
    write_star(particles.star, blocks)
    if value != "nan":
        run(tmp_path / "without", particles)  # no CTF is computed with them
    blocks["particles"] |= {"rlnDefocusU": [10000.0] * 15, "rlnDefocusV": [9000.0] * 15}
    write_star(particles.star, blocks)
    with pytest.raises(BadInput, match=rf"particles\.star: opticsGroup1: {said}"):
        run(tmp_path / "out", particles)


def test_other_refusals(tmp_path: Path) -> None:
    particles = make_shape_particles(tmp_path / "in", each=5)
    with pytest.raises(BadInput, match="diameter of 400 Å does not fit into boxes of 32 px"):
        run(tmp_path / "out", particles, params=CanClassifierParams(diameter=400.0))
    with pytest.raises(BadInput, match=r"shapes\.mrcs: a diameter of 15 Å is 7.5 pixels of 2 Å; at least 8 are needed"):
        run(tmp_path / "small", particles, params=CanClassifierParams(diameter=15.0))
    with pytest.raises(BadInput, match="max_shift = 33 Å: half of a box of 32 px is 32 Å"):
        run(tmp_path / "far", particles, params=PARAMS.model_copy(update={"max_shift": 33.0}))
    with pytest.raises(BadInput, match="there is no class 9; the classes are 1 to "):
        run(tmp_path / "more", particles, params=PARAMS.model_copy(update={"classes": 9, "select": (9,)}))
    write_mrc(tmp_path / "in" / "shapes.mrcs", np.ones((15, 32, 32), np.float32), PIXEL_SIZE)
    with pytest.raises(BadInput, match="none of the 15 images is usable"):
        run(tmp_path / "constant", particles)
    with pytest.raises(BadInput, match="no particles"):
        run(tmp_path / "none", particles.model_copy(update={"count": 0, "stack": None}))
