"""`magellon run` on plain files and the functions in Python give the same as `magellon process` on the session."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from magellon.algorithms.ctf import Microscope, estimate_ctf, estimate_ctf_from_spectrum
from magellon.algorithms.motion import MotionSettings, correct_motion
from magellon.io.defects import read_defects
from magellon.io.gain import read_gain
from magellon.io.movie import open_movie
from magellon.io.mrc import read_mrc
from magellon.io.star import read_star

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def magellon(*arguments: str | Path, home: Path) -> None:
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "magellon", *map(str, arguments)], check=True, env=environment, timeout=280)


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The session folder that `process` fills, and the folder that `run` fills."""
    base = tmp_path_factory.mktemp("both")
    session, out, home = base / "session", base / "out", base / "home"
    magellon("simulate", session, "--movies", "1", "--size", "1024", "--frames", "10", "--carbon", "0", home=base)
    magellon("process", session, "--home", home, home=base)
    magellon("run", "motion_correction", session, "--out", out, home=base)
    magellon("run", "ctf_estimation", out / "corrected_micrographs.star", "--out", out, home=base)
    magellon("run", "fft", out / "corrected_micrographs.star", "--out", out, home=base)
    magellon("run", "particle_picking", out / "micrographs_ctf.star", "--out", out, home=base)
    magellon("run", "particle_extraction", out / "micrographs_ctf.star", "--out", out, home=base)
    return home / "sessions" / "sim", out


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ("motion_correction", (".mrc", "_noDW.mrc", "_EVN.mrc", "_ODD.mrc", ".star", "_motion.png")),
        ("ctf_estimation", ("_ctf.mrc", "_ctf.png", "_ctf_profile.star")),
        ("fft", ("_fft.png",)),
        ("particle_picking", ("_autopick.star", "_picks.png")),
        ("particle_extraction", (".mrcs", "_extract.star", "_particles.png")),
    ],
)
def test_files_are_the_same_bytes(processed: tuple[Path, Path], step: str, names: tuple[str, ...]) -> None:
    session, out = processed
    for name in names:
        made, expected = out / f"sim_0001{name}", session / step / f"sim_0001{name}"
        assert made.read_bytes() == expected.read_bytes(), name


def test_star_files_say_the_same_in_other_folders(processed: tuple[Path, Path]) -> None:
    """A step run alone does not know the motion of the movie, so the session's table may have more columns."""
    session, out = processed
    for name in ("corrected_micrographs.star", "micrographs_ctf.star", "particles.star"):
        made, expected = read_star(out / name), read_star(session / name)
        for block, table in made.items():
            for label, values in table.items():
                assert values == [drop_folder(value) for value in expected[block][label]], f"{name}: {label}"


def drop_folder(value: str) -> str:
    for step in ("motion_correction", "ctf_estimation", "particle_extraction"):
        value = value.replace(f"{step}/", "")
    return value


def test_results_have_no_absolute_path(processed: tuple[Path, Path]) -> None:
    _, out = processed
    for path in [*out.glob("*.star"), *out.glob("*.json")]:
        assert str(out.parent) not in path.read_text(), path.name


def test_the_functions_give_the_same_numbers(processed: tuple[Path, Path]) -> None:
    results, out = processed
    session = out.parent / "session"
    with open_movie(session / "movies" / "sim_0001.tiff") as movie:
        shape = (movie.height, movie.width)
        gain = torch.from_numpy(read_gain(session / "gain.mrc", movie_format=movie.format, shape=shape))
        defects = torch.from_numpy(read_defects(session / "defects.txt", shape))
        frames = [torch.from_numpy(movie.read(index)) for index in range(movie.frames)]
    corrected = correct_motion(frames, 1.2, MotionSettings(exposure_per_frame=1.04), gain=gain, defects=defects)
    fits = [
        estimate_ctf(corrected.unweighted, corrected.pixel_size, Microscope()),
        estimate_ctf_from_spectrum(corrected.group_spectrum, corrected.pixel_size, Microscope()),
    ]
    fit = min(fits, key=lambda fit: (len(fit.warnings), fit.defocus_error))  # the surer one, as the backend chooses
    assert np.array_equal(corrected.micrograph.numpy(), read_mrc(results / "motion_correction" / "sim_0001.mrc"))
    table = read_star(results / "micrographs_ctf.star")["micrographs"]
    assert table.floats("rlnDefocusU") == [round(float(fit.model.defocus_u), 2)]
    assert table.floats("rlnDefocusAngle") == [round(float(fit.model.defocus_angle), 3)]
