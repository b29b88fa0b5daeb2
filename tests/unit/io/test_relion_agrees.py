"""RELION's programs as oracles of orientations, signs and codings."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

from magellon.io.defects import read_defects, write_defects
from magellon.io.eer_encoder import write_eer
from magellon.io.gain import Flip, read_gain
from magellon.io.movie import open_movie
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.mrc_header import read_mrc_header
from magellon.io.star import read_star, write_star
from magellon.io.tiff_movie import write_tiff_movie

pytestmark = [
    pytest.mark.relion,
    pytest.mark.skipif(shutil.which("relion_run_motioncorr") is None, reason="RELION is not on the PATH"),
]

HEIGHT, WIDTH = 256, 200
RNG = np.random.default_rng(6)
FRAME = RNG.poisson(20, (HEIGHT, WIDTH)).astype(np.uint8)


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def sum_frames(folder: Path, movie: str, *options: str) -> np.ndarray:
    """RELION's unaligned sum: all frames are alike, so there is nothing to align."""
    optics = {
        "rlnOpticsGroupName": ["group"],
        "rlnOpticsGroup": [1],
        "rlnMicrographOriginalPixelSize": [1.0],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
    }
    movies = {"rlnMicrographMovieName": [movie], "rlnOpticsGroup": [1]}
    write_star(folder / "in.star", {"optics": optics, "movies": movies})
    command = ["relion_run_motioncorr", "--i", "in.star", "--o", "out", "--use_own", "--max_iter", "1"]
    run(folder, *command, *options)
    return read_mrc(folder / "out" / Path(movie).with_suffix(".mrc").name)


@pytest.fixture
def session(tmp_path: Path) -> Path:
    frames = np.repeat(FRAME[None], 4, axis=0)
    write_tiff_movie(tmp_path / "tiff.tiff", frames, 1.0)
    write_mrc(tmp_path / "mrc.mrcs", frames, 1.0, "int16")
    gain = RNG.uniform(0.5, 1.5, (HEIGHT, WIDTH)).astype(np.float32)
    write_mrc(tmp_path / "gain.mrc", gain, 1.0)
    tifffile.imwrite(tmp_path / "gain.tif", gain)
    write_mrc(tmp_path / "lying.mrc", np.ascontiguousarray(gain.T), 1.0)
    return tmp_path


def test_rows_of_movies(session: Path) -> None:
    for name in ("tiff.tiff", "mrc.mrcs"):
        with open_movie(session / name) as movie:
            np.testing.assert_array_equal(movie.read(0), FRAME)
        np.testing.assert_allclose(sum_frames(session, name), 4.0 * FRAME, atol=1e-3)


FLIPS: list[Flip] = ["none", "y", "x"]


@pytest.mark.parametrize("movie", ["tiff.tiff", "mrc.mrcs"])
@pytest.mark.parametrize("gain", ["gain.mrc", "gain.tif", "lying.mrc"])
def test_gains_in_every_orientation(session: Path, movie: str, gain: str) -> None:
    """RELION's --gain_rot turns clockwise, ours counter-clockwise; --gain_flip 1 is our "y", 2 our "x"."""
    for turns in (1, 3) if gain == "lying.mrc" else (0, 2):
        for flip in range(3):
            options = ("--gainref", gain, "--gain_rot", str(turns), "--gain_flip", str(flip))
            theirs = sum_frames(session, movie, *options)
            with open_movie(session / movie) as reader:
                found = read_gain(
                    session / gain,
                    movie_format=reader.format,
                    shape=(HEIGHT, WIDTH),
                    rotation=-90 * turns % 360,
                    flip=FLIPS[flip],
                )
            np.testing.assert_allclose(theirs, 4.0 * FRAME * found, atol=1e-3)


@pytest.mark.parametrize("movie", ["tiff.tiff", "mrc.mrcs"])
@pytest.mark.parametrize("kind", ["list", "mrc", "tiff"])
def test_defects_lie_where_relion_sees_them(session: Path, movie: str, kind: str) -> None:
    name = {"list": "defects.txt", "mrc": "map.mrc", "tiff": "map.tif"}[kind]
    if kind == "list":
        write_defects(session / name, [(10, 20, 30, 8), (150, 200, 5, 40)])
    else:
        bad = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
        bad[20:28, 10:40] = 1
        write_mrc(session / name, bad, 1.0) if kind == "mrc" else tifffile.imwrite(session / name, bad)
    theirs = sum_frames(session, movie, "--defect_file", name)
    replaced = np.abs(theirs - 4.0 * FRAME) > 5  # what it puts there differs from frame to frame and moves the others a little
    bad_pixels = read_defects(session / name, (HEIGHT, WIDTH))
    assert not (replaced & ~bad_pixels).any()
    assert replaced[bad_pixels].mean() > 0.5


DETECTOR = (4096, 4096)


def make_raw_frames(count: int) -> list[np.ndarray]:
    return [RNG.integers(0, 4 * DETECTOR[0], (40_000, 2)) for _ in range(count)]


@pytest.mark.parametrize("compression", [65000, 65001])
@pytest.mark.parametrize("upsampling", [1, 2])
def test_our_eer_movies_are_rendered_alike(tmp_path: Path, compression: int, upsampling: int) -> None:
    write_eer(tmp_path / "a.eer", make_raw_frames(5), DETECTOR, compression=compression)
    options = ["--eer_grouping", "2", "--eer_upsampling", str(upsampling), "--compression", "none"]
    run(tmp_path, "relion_convert_to_tiff", "--i", "a.eer", "--o", "out/", *options)
    ours = open_movie(tmp_path / "a.eer", eer_grouping=2, eer_upsampling=upsampling)
    theirs = open_movie(tmp_path / "out" / "a.tif")
    with ours, theirs:
        assert ours.frames == theirs.frames == 2
        for index in range(2):
            np.testing.assert_array_equal(ours.read(index), theirs.read(index))


@pytest.mark.parametrize("name", ["gain.mrc", "gain.tif", "gain.gain"])
def test_gains_of_eer_movies(tmp_path: Path, name: str) -> None:
    events = make_raw_frames(2)
    write_eer(tmp_path / "a.eer", events * 3, DETECTOR)
    gain = RNG.uniform(0.5, 1.5, DETECTOR).astype(np.float32)
    gain[1000:1010, 2000:2003] = 0
    write_mrc(tmp_path / name, gain, 1.0) if name.endswith("mrc") else tifffile.imwrite(tmp_path / name, gain)
    theirs = sum_frames(tmp_path, "a.eer", "--gainref", name, "--eer_grouping", "2", "--skip_defect")
    with open_movie(tmp_path / "a.eer", eer_grouping=6) as movie:
        ours = movie.read(0) * read_gain(tmp_path / name, movie_format="eer", shape=DETECTOR)
    live = ours != 0
    np.testing.assert_allclose(theirs[live], ours[live], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("shape", [(7676, 3710), (3710, 7676)])
def test_four_bit_frames_that_only_their_size_tells(tmp_path: Path, shape: tuple[int, int]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RNG.integers(0, 256, (2, *shape), dtype=np.uint8), photometric="minisblack")
    run(tmp_path, "relion_image_handler", "--i", "a.tif", "--o", "b.mrcs")
    theirs = read_mrc(tmp_path / "b.mrcs")
    with open_movie(tmp_path / "a.tif") as ours:
        np.testing.assert_array_equal(ours.read(1), theirs[1])


@pytest.mark.parametrize("mode", ["int8", "int16", "uint16", "float32"])
def test_relion_reads_our_stacks_and_pixel_size(tmp_path: Path, mode: str) -> None:
    stack = RNG.integers(0, 100, (3, 10, 12)).astype(np.float32)
    write_mrc(tmp_path / "a.mrcs", stack, 1.39955, mode)  # type: ignore[arg-type]
    run(tmp_path, "relion_image_handler", "--i", "a.mrcs", "--o", "b.mrcs")
    np.testing.assert_array_equal(read_mrc(tmp_path / "b.mrcs"), stack)
    header = read_mrc_header(tmp_path / "b.mrcs")
    assert (header.sections, header.height, header.width) == (3, 10, 12)
    assert f"{header.pixel_size:.6f}" == "1.399550"


def test_relion_reads_our_star_files(tmp_path: Path) -> None:
    optics = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["group"],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [1.2],
        "rlnImageSize": [64],
        "rlnImageDimensionality": [2],
    }
    columns = {"rlnImageName": ["000001@a.mrcs", "000002@a.mrcs"], "rlnDefocusU": [10000.25, 1e-5], "rlnOpticsGroup": [1, 1]}
    write_star(tmp_path / "a.star", {"optics": optics, "particles": columns})
    run(tmp_path, "relion_star_handler", "--i", "a.star", "--o", "b.star", "--select", "rlnDefocusU")
    table = read_star(tmp_path / "b.star")["particles"]
    assert table.texts("rlnImageName") == columns["rlnImageName"]
    assert table.floats("rlnDefocusU") == pytest.approx([10000.25, 1e-5])
