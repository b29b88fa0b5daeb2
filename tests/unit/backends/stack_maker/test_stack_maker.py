"""`stack-maker` on files."""

from pathlib import Path

import numpy as np
import pytest

from magellon.backends.denoising_files import write_denoising_output
from magellon.backends.stack_maker.backend import StackMaker
from magellon.backends.stack_maker.params import StackMakerParams
from magellon.contracts import BadInput, Context, Ctf, ExtractionInput, ExtractionOutput, Micrograph, Optics, Picks
from magellon.io.mrc import open_mrc, read_mrc, write_mrc
from magellon.io.star import read_star, write_star
from magellon.testing import check_backend

HEIGHT, WIDTH, PIXEL = 200, 300, 1.2
CTF = Ctf(defocus_u=15000.0, defocus_v=14000.0, defocus_angle=25.0, phase_shift=0.0, score=0.3, resolution=4.1)
COORDINATES = [(150.3, 100.6), (60.0, 70.5), (5.2, 100.0), (250.7, 180.0), (61.0, 71.0)]
"""(x, y): inside, inside, at the left edge, at the lower edge, a worse duplicate of the second."""
SCORES = [0.9, 0.8, 0.7, 0.6, 0.5]


def make_input(folder: Path, coordinates: list[tuple[float, float]] | None = None, **columns: list[str]) -> ExtractionInput:
    coordinates = COORDINATES if coordinates is None else coordinates
    image = np.random.default_rng(5).normal(20, 3, (HEIGHT, WIDTH)).astype(np.float32)
    write_mrc(folder / "mic.mrc", image, PIXEL)
    table = {
        "rlnCoordinateX": [x for x, _ in coordinates],
        "rlnCoordinateY": [y for _, y in coordinates],
        "rlnAutopickFigureOfMerit": SCORES[: len(coordinates)],
        **columns,
    }
    write_star(folder / "mic_autopick.star", {"": table})
    optics = Optics(voltage=200, spherical_aberration=1.4, amplitude_contrast=0.07, group="hole_3")
    return ExtractionInput(
        micrograph=Micrograph(name="mic", path=folder / "mic.mrc", pixel_size=PIXEL, shape=(HEIGHT, WIDTH), optics=optics),
        picks=Picks(path=folder / "mic_autopick.star", count=len(coordinates), diameter=30.0),
        ctf=CTF,
    )


def extract(example: ExtractionInput, folder: Path, **params: object) -> ExtractionOutput:
    workdir = folder / "out"
    workdir.mkdir()
    return StackMaker().run(example, StackMakerParams.model_validate(params), Context(workdir=workdir))


def test_keeps_the_rules_of_a_backend(tmp_path: Path) -> None:
    output = check_backend(StackMaker, make_input(tmp_path), StackMakerParams(box_size=48, rescaled_size=32, white_dust=3))
    assert output.particles.count == 4


def test_boxes_star_and_counts(tmp_path: Path) -> None:
    output = extract(make_input(tmp_path), tmp_path, box_size=48, rescaled_size=32)
    assert (output.left_out_at_edge, output.padded_at_edge, output.duplicates_removed) == (0, 2, 1)
    assert output.particles.stack is not None
    assert output.particles.pixel_size == pytest.approx(1.8)
    stack = read_mrc(output.particles.stack)
    assert stack.shape == (4, 32, 32)
    tables = read_star(output.particles.star)
    optics, particles = tables["optics"], tables["particles"]
    assert optics.texts("rlnOpticsGroupName") == ["hole_3"]
    assert optics.floats("rlnImagePixelSize") == [1.8]
    assert optics.floats("rlnVoltage") == [200.0]
    assert optics.ints("rlnImageSize") == [32]
    assert particles.floats("rlnCoordinateX") == [150, 60, 5, 251]
    assert particles.floats("rlnCoordinateY") == [101, 71, 100, 180]
    assert particles.floats("rlnOriginXAngst") == pytest.approx([-0.36, 0, -0.24, 0.36], abs=1e-6)
    assert particles.floats("rlnOriginYAngst") == pytest.approx([0.48, 0.6, 0, 0], abs=1e-6)
    assert particles.texts("rlnImageName") == [f"{n:06d}@mic.mrcs" for n in (1, 2, 3, 4)]
    assert set(particles.texts("rlnMicrographName")) == {"mic.mrc"}
    assert particles.floats("rlnAutopickFigureOfMerit") == [0.9, 0.8, 0.7, 0.6]
    assert set(particles.floats("rlnDefocusU")) == {15000.0}
    assert sorted(particles.ints("rlnRandomSubset")) == [1, 1, 2, 2]


def test_header_and_star_agree_on_the_pixel_size(tmp_path: Path) -> None:
    output = extract(make_input(tmp_path), tmp_path, box_size=48, rescaled_size=44)
    assert output.particles.stack is not None
    with open_mrc(output.particles.stack) as file:
        header = file.header.pixel_size
    assert header is not None
    printed = read_star(output.particles.star)["optics"].texts("rlnImagePixelSize")[0]
    assert f"{header:.6f}" == printed


def test_edges_are_left_out_on_request(tmp_path: Path) -> None:
    output = extract(make_input(tmp_path), tmp_path, box_size=48, edge="leave_out", minimum_distance=0)
    assert (output.particles.count, output.left_out_at_edge, output.padded_at_edge, output.duplicates_removed) == (3, 2, 0, 0)


def test_box_size_comes_from_the_diameter(tmp_path: Path) -> None:
    assert extract(make_input(tmp_path), tmp_path).particles.box == 40  # 1.5 * 30 Å / 1.2 Å = 37.5 px


def test_background_diameter_in_angstrom(tmp_path: Path) -> None:
    output = extract(make_input(tmp_path, COORDINATES[:1]), tmp_path, box_size=48, rescaled_size=32, background_diameter=43.2)
    assert output.particles.stack is not None
    box = read_mrc(output.particles.stack).astype(np.float64)
    place = np.arange(32) - 16
    ring = place[:, None] ** 2 + place**2 > 12**2
    assert box[ring].mean() == pytest.approx(0, abs=1e-6)
    assert box[ring].std() == pytest.approx(1, abs=1e-6)


def test_no_picks_is_a_result(tmp_path: Path) -> None:
    output = extract(make_input(tmp_path, []), tmp_path)
    assert output.particles.count == 0
    assert output.particles.stack is None
    assert output.picture is None
    assert read_star(output.particles.star)["particles"].rows == 0
    assert "rlnImageName" in read_star(output.particles.star)["particles"]


def test_further_columns_of_the_picks_go_along(tmp_path: Path) -> None:
    example = make_input(tmp_path, COORDINATES[:2], rlnAnglePsi=["12.5", "-80.0"], rlnClassNumber=["3", "1"])
    particles = read_star(extract(example, tmp_path, box_size=32).particles.star)["particles"]
    assert particles.floats("rlnAnglePsi") == [12.5, -80.0]
    assert particles.ints("rlnClassNumber") == [3, 1]


def test_origins_of_refined_particles_recentre_the_boxes(tmp_path: Path) -> None:
    example = make_input(tmp_path, [(150.9, 100.0)], rlnOriginXAngst=["-6.24"], rlnOriginYAngst=["2.4"])
    particles = read_star(extract(example, tmp_path, box_size=32).particles.star)["particles"]
    assert particles.floats("rlnCoordinateX") == [155.0]  # 150 + 5.2
    assert particles.floats("rlnCoordinateY") == [98.0]
    assert particles.floats("rlnOriginXAngst") == pytest.approx([-0.24], abs=1e-6)


def test_origins_that_are_all_zero_do_not_truncate(tmp_path: Path) -> None:
    example = make_input(tmp_path, [(150.9, 100.0)], rlnOriginXAngst=["0.0"], rlnOriginYAngst=["0.0"])
    particles = read_star(extract(example, tmp_path, box_size=32).particles.star)["particles"]
    assert particles.floats("rlnCoordinateX") == [151.0]
    assert particles.floats("rlnOriginXAngst") == pytest.approx([0.12], abs=1e-6)


def test_of_several_micrographs_only_the_rows_of_this_one_are_taken(tmp_path: Path) -> None:
    names = ["job/other.mrc", "job/mic.mrc", "job/other.mrc"]
    example = make_input(tmp_path, COORDINATES[:3], rlnMicrographName=names)
    particles = read_star(extract(example, tmp_path, box_size=32).particles.star)["particles"]
    assert particles.floats("rlnCoordinateX") == [60.0]
    example = make_input(tmp_path, COORDINATES[:3], rlnMicrographName=["a.mrc", "b.mrc", "b.mrc"])
    with pytest.raises(BadInput, match="coordinates on 2 micrographs, none of them mic"):
        StackMaker().run(example, StackMakerParams(box_size=32), Context(workdir=tmp_path / "out"))


def test_without_ctf_there_are_no_ctf_columns(tmp_path: Path) -> None:
    example = make_input(tmp_path).model_copy(update={"ctf": None})
    particles = read_star(extract(example, tmp_path, box_size=32).particles.star)["particles"]
    assert "rlnDefocusU" not in particles


def test_half_precision(tmp_path: Path) -> None:
    example = make_input(tmp_path)
    full = extract(example, tmp_path, box_size=32)
    (tmp_path / "half").mkdir()
    half = StackMaker().run(example, StackMakerParams(box_size=32, mode="float16"), Context(workdir=tmp_path / "half"))
    assert half.particles.stack is not None
    assert full.particles.stack is not None
    assert half.particles.stack.stat().st_size < full.particles.stack.stat().st_size * 0.6
    assert np.abs(read_mrc(half.particles.stack) - read_mrc(full.particles.stack)).max() < 5e-3


def test_what_cannot_be_extracted_is_refused_with_the_reason(tmp_path: Path) -> None:
    example = make_input(tmp_path)
    with pytest.raises(BadInput, match=r"mic\.mrc: a box of 256 px is larger than the micrograph of 300 x 200 px"):
        extract(example, tmp_path, box_size=256)
    context = Context(workdir=tmp_path / "out")
    with pytest.raises(BadInput, match="rescaled_size 64 px is larger than the box of 32 px"):
        StackMaker().run(example, StackMakerParams(box_size=32, rescaled_size=64), context)
    with pytest.raises(BadInput, match=r"background diameter of 82 px does not fit into a box of 32 px"):
        StackMaker().run(example, StackMakerParams(box_size=32, background_diameter=100), context)
    other = example.micrograph.model_copy(update={"shape": (WIDTH, HEIGHT)})
    with pytest.raises(BadInput, match="1 image\\(s\\) of 300 x 200 px where one micrograph of 200 x 300 px was expected"):
        StackMaker().run(example.model_copy(update={"micrograph": other}), StackMakerParams(box_size=32), context)
    assert list(context.workdir.iterdir()) == []


def test_damaged_input_is_named(tmp_path: Path) -> None:
    example = make_input(tmp_path)
    image = read_mrc(example.micrograph.path)
    image[7, 8] = np.nan
    (tmp_path / "mic.mrc").write_bytes((tmp_path / "mic.mrc").read_bytes()[:1024] + image.astype("<f4").tobytes())
    with pytest.raises(BadInput, match=r"mic\.mrc.*NaN"):
        extract(example, tmp_path, box_size=32)
    write_mrc(tmp_path / "mic.mrc", np.full((HEIGHT, WIDTH), 7, dtype=np.float32), PIXEL)
    with pytest.raises(BadInput, match=r"mic\.mrc: all pixels are 7"):
        StackMaker().run(example, StackMakerParams(box_size=32), Context(workdir=tmp_path / "out"))
    (tmp_path / "mic.mrc").write_bytes((tmp_path / "mic.mrc").read_bytes()[:5000])
    with pytest.raises(BadInput, match=r"mic\.mrc.*truncated"):
        StackMaker().run(example, StackMakerParams(box_size=32), Context(workdir=tmp_path / "out"))


def test_a_denoised_micrograph_is_refused_whatever_its_name(tmp_path: Path) -> None:
    example = make_input(tmp_path)
    written = write_denoising_output(tmp_path, example.micrograph, *[read_mrc(example.micrograph.path)] * 2)
    written.denoised.path.rename(tmp_path / "mic.mrc")
    with pytest.raises(BadInput, match=r"mic\.mrc: is denoised: .*extract from the micrograph itself"):
        extract(example, tmp_path, box_size=32)


def test_picks_that_cannot_belong_to_the_micrograph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"mic_autopick\.star: all 1 coordinates lie outside the micrograph of 300 x 200 px"):
        extract(make_input(tmp_path, [(1200.0, 800.0)]), tmp_path, box_size=32)
    picks, context, example = tmp_path / "mic_autopick.star", Context(workdir=tmp_path / "out"), make_input(tmp_path)
    picks.write_text("data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n10 nan\n")
    with pytest.raises(BadInput, match=r"mic_autopick\.star: row 1: the coordinate"):
        StackMaker().run(example, StackMakerParams(box_size=32), context)
    picks.write_text("data_\n\nloop_\n_rlnMicrographName #1\na.mrc\n")
    with pytest.raises(BadInput, match="no table with rlnCoordinateX"):
        StackMaker().run(example, StackMakerParams(box_size=32), context)
