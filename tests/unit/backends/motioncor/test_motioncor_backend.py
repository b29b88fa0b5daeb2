from pathlib import Path

import numpy as np
import pytest
import torch

from known_movies import KnownMovie, make_movie
from magellon.backends.motioncor.backend import MotionCor, MotionCorParams
from magellon.backends.motioncor.relion_star import read_motion_star
from magellon.contracts import BadInput, Context, Gain, MotionInput, Movie, Optics
from magellon.io.mrc import read_mrc, write_mrc
from magellon.testing import check_backend


@pytest.fixture(scope="module")
def known() -> KnownMovie:
    return make_movie()


@pytest.fixture(scope="module")
def movie(known: KnownMovie, tmp_path_factory: pytest.TempPathFactory) -> Movie:
    folder = tmp_path_factory.mktemp("movies")
    write_mrc(folder / "m1.mrc", known.frames.numpy().astype(np.int8), 1.5, mode="int8")
    write_mrc(folder / "gain.mrc", np.ones((256, 256), np.float32), 1.5)
    return Movie(
        name="m1", path=folder / "m1.mrc", pixel_size=1.5, optics=Optics(voltage=200), exposure_per_frame=1.0,
        gain=Gain(path=folder / "gain.mrc"),
    )  # fmt: skip


def run(movie: Movie, workdir: Path, **params: object):
    return MotionCor().run(MotionInput(movie=movie), MotionCorParams(**params), Context(workdir=workdir))


def test_the_backend_keeps_to_its_contract_and_finds_the_motion(movie: Movie, known: KnownMovie, tmp_path: Path) -> None:
    output = check_backend(MotionCor, MotionInput(movie=movie), workdir=tmp_path / "out")
    record = read_motion_star(output.star)
    assert record.metadata.movie_name == "movies/m1.mrc"
    assert record.metadata.gain_name == "movies/gain.mrc"
    assert (record.metadata.frames, record.metadata.shape, record.metadata.exposure_per_frame) == (12, (256, 256), 1.0)
    error = record.displacement(torch.tensor([127.5, 127.5])) - known.track
    assert float(error.square().sum(-1).mean().sqrt()) < 0.25
    even, odd, whole = (read_mrc(path) for path in (output.even, output.odd, output.unweighted.path))
    np.testing.assert_allclose(even + odd, whole, rtol=1e-5, atol=1e-4)
    inner = (slice(24, -24), slice(24, -24))
    assert np.corrcoef(whole[inner].ravel(), known.image.numpy()[inner].ravel())[0, 1] > 0.75
    assert output.micrograph.shape == (256, 256)
    assert output.total_motion == pytest.approx(output.early_motion + output.late_motion)


def test_frames_can_be_left_out(movie: Movie, known: KnownMovie, tmp_path: Path) -> None:
    output = run(movie, tmp_path, first_frame=3, last_frame=10, half_sums=False, local_motion=False)
    assert output.frames == 8
    assert output.even is None
    text = output.star.read_text()
    assert text.count("-9999.000000") == 8
    record = read_motion_star(output.star)
    assert record.metadata.start_frame == 3
    assert record.coefficients is None
    error = record.track - (known.track[2:10] - known.track[2])
    assert float(error.square().sum(-1).mean().sqrt()) < 0.3
    with pytest.raises(BadInput, match="last_frame is 13, the movie has 12"):
        run(movie, tmp_path, last_frame=13)


def test_without_an_exposure_nothing_is_weighted(movie: Movie, tmp_path: Path) -> None:
    output = run(movie.model_copy(update={"exposure_per_frame": None}), tmp_path)
    assert output.micrograph == output.unweighted
    assert not (tmp_path / "m1_noDW.mrc").exists()


def test_errors_name_the_file(movie: Movie, tmp_path: Path) -> None:
    blank = tmp_path / "blank.mrc"
    write_mrc(blank, np.zeros((4, 64, 64), np.int8), 1.0, mode="int8")
    with pytest.raises(BadInput, match=r"blank\.mrc.*holds no image"):
        run(Movie(name="blank", path=blank, pixel_size=1.0), tmp_path)
