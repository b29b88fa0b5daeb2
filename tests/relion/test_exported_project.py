"""RELION goes on from an exported project as from its own: reads the pipeline, classifies, extracts and polishes inside it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from magellon.io.cryosparc_star import convert_cs_to_star
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import StarTable, read_star, write_star

pytestmark = pytest.mark.timeout(900)
DIAMETER, PIXEL = 150, 1.2


def magellon(*arguments: object, home: Path) -> None:
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "magellon", *map(str, arguments)], check=True, env=environment, timeout=600)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("exported")
    clean = ["--carbon", "0", "--contamination", "0", "--beam-edge", "0", "--defocus", "12000,20000"]
    magellon("simulate", base / "session", "--movies", "2", "--size", "1024", "--frames", "12", *clean, home=base)
    box = "particle_extraction.box_size=192"
    magellon("process", base / "session", "--home", base / "home", "--set", box, home=base)
    return base / "home"


@pytest.fixture
def project(home: Path, tmp_path: Path) -> Path:
    magellon("export", "sim", "--home", home, "--to", "relion", "--out", tmp_path / "project", home=tmp_path)
    return tmp_path / "project"


def test_the_pipeline_is_read_and_added_to(project: Path, relion) -> None:
    """What RELION writes back holds our jobs and nodes, and the job it adds takes its input from our extraction."""
    before = read_star(project / "default_pipeline.star")
    relion("pipeliner", cwd=project, check_job_completion=True)
    relion("pipeliner", cwd=project, addJob="Class2D", addJobOptions="fn_img == Extract/job005/particles.star")
    after = read_star(project / "default_pipeline.star")
    for block in ("pipeline_processes", "pipeline_nodes", "pipeline_input_edges", "pipeline_output_edges"):
        ours = list(zip(*before[block].values(), strict=True))
        theirs = list(zip(*after[block].values(), strict=True))
        assert set(ours) < set(theirs), block
    edges = after["pipeline_input_edges"]
    added = list(zip(edges.texts("rlnPipeLineEdgeFromNode"), edges.texts("rlnPipeLineEdgeProcess"), strict=True))
    assert ("Extract/job005/particles.star", "Class2D/job006/") in added
    menus = {path.relative_to(project / ".Nodes").as_posix() for path in (project / ".Nodes").rglob("*.star")}
    assert "3/Extract/job005/particles.star" in menus


def test_particles_are_classified(project: Path, relion) -> None:
    (project / "Class2D" / "job006").mkdir(parents=True)
    relion(
        "refine", cwd=project, i="Extract/job005/particles.star", o="Class2D/job006/run", iter=1, K=2, ctf=True, norm=True,
        scale=True, tau2_fudge=2, particle_diameter=DIAMETER, psi_step=45, offset_range=2, offset_step=2, oversampling=0,
        flatten_solvent=True, zero_mask=True, pad=1, random_seed=1,
    )  # fmt: skip
    classified = read_star(project / "Class2D" / "job006" / "run_it001_data.star")
    ours = read_star(project / "Extract" / "job005" / "particles.star")
    assert sorted(classified["particles"].texts("rlnImageName")) == sorted(ours["particles"].texts("rlnImageName"))
    assert classified["optics"].floats("rlnImagePixelSize") == ours["optics"].floats("rlnImagePixelSize")
    assert read_mrc(project / "Class2D" / "job006" / "run_it001_classes.mrcs").shape[0] == 2


def test_particles_are_extracted_again_from_our_picks(project: Path, relion) -> None:
    """By the names and suffix of RELION 3.1."""
    suffix = (project / "AutoPick" / "job004" / "coords_suffix_autopick.star").read_text().strip()
    relion(
        "preprocess", cwd=project, i=suffix, coord_dir="AutoPick/job004/", coord_suffix="_autopick.star",
        part_dir="Extract/job006/", part_star="Extract/job006/particles.star", extract=True, extract_size=64,
    )  # fmt: skip
    table = read_star(project / "Extract" / "job006" / "particles.star")["particles"]
    found = sorted(zip(table.floats("rlnCoordinateX"), table.floats("rlnCoordinateY"), strict=True))
    picked = []
    for name in read_star(project / "AutoPick" / "job004" / "autopick.star")["coordinate_files"]["rlnMicrographCoordinates"]:
        picks = read_star(project / name)[""]
        picked += zip(picks.floats("rlnCoordinateX"), picks.floats("rlnCoordinateY"), strict=True)
    assert np.array(found) == pytest.approx(np.array(sorted(picked)), abs=1e-3)
    ours = read_star(project / "CtfFind" / "job003" / "micrographs_ctf.star")["micrographs"]
    assert set(table.texts("rlnMicrographName")) == set(ours.texts("rlnMicrographName"))


def test_particles_are_polished(project: Path, relion) -> None:
    """Names agree after the jobs' folders, and motion files lead to movies and gain.

    The reference is no map of this particle, so that tracks and weights mean nothing: frames count alike here, and polished
    particles lie some pixels off; but each is the one of ours that has its number.
    """
    particles = read_star(project / "Extract" / "job005" / "particles.star")
    box = particles["optics"].ints("rlnImageSize")[0]
    pixel = particles["optics"].floats("rlnImagePixelSize")[0]
    place = np.arange(box) - box // 2
    radius = np.sqrt(place[:, None, None] ** 2 + place[:, None] ** 2 + place**2) * pixel
    for name, volume in {"map.mrc": np.exp(-((radius / 40) ** 2)), "mask.mrc": radius < DIAMETER / 2}.items():
        write_mrc(project / name, volume.astype(np.float32), pixel)
    shells = np.arange(box // 2 + 1)
    curve = {
        "rlnSpectralIndex": shells.tolist(),
        "rlnResolution": (shells / (box * pixel)).tolist(),
        "rlnFourierShellCorrelationCorrected": np.clip(1 - shells / (box / 4), 0, 1).tolist(),
    }
    general = StarTable({"rlnFinalResolution": [8.0], "rlnMaskName": ["mask.mrc"]}, loop=False)
    write_star(project / "postprocess.star", {"general": general, "fsc": StarTable(curve)})
    for angle in ("Rot", "Tilt", "Psi"):
        particles["particles"][f"rlnAngle{angle}"] = [0.0] * particles["particles"].rows
    write_star(project / "refined.star", particles)
    frames = {"rlnMovieFrameNumber": range(12), "rlnBfactorUsedForSharpening": [-10.0] * 12}
    frames["rlnFittedInterceptGuinierPlot"] = [0.0] * 12
    write_star(project / "flat.star", {"perframe_bfactors": StarTable(frames)})
    relion(
        "motion_refine", cwd=project, i="refined.star", f="postprocess.star", m1="map.mrc", m2="map.mrc", mask="mask.mrc",
        corr_mic="MotionCorr/job002/corrected_micrographs.star", o="Polish/job006/", combine_frames=True, bfactors="flat.star",
        max_MG=0, allow_error="gs -sDEVICE",
    )  # fmt: skip
    [shiny] = sorted((project / "Polish" / "job006" / "movies").glob("*_shiny.mrcs"))
    ours = project / "Extract" / "job005" / "movies" / shiny.name.replace("_shiny", "")
    assert find_likest(read_mrc(shiny), read_mrc(ours)) == list(range(len(read_mrc(ours))))


def find_likest(images: NDArray[np.float32], others: NDArray[np.float32]) -> list[int]:
    """For each image the one of the others that, moved by anything, correlates best with it."""
    spectra = np.conj(np.fft.rfft2(others))
    return [int(np.fft.irfft2(np.fft.rfft2(image) * spectra).max(axis=(1, 2)).argmax()) for image in images]


def test_a_cs_file_of_ours_leads_relion_to_the_same_images(home: Path, tmp_path: Path, relion) -> None:
    out = tmp_path / "project"
    magellon("export", "sim", "--home", home, "--to", "cryosparc", "--out", out, home=tmp_path)
    convert_cs_to_star(out / "particles.cs", out / "from_cs.star")
    relion("stack_create", cwd=out, i="from_cs.star", o="copy")
    names = read_star(out / "particles.star")["particles"].texts("rlnImageName")
    stacks = {name: read_mrc(out / name) for name in {each.partition("@")[2] for each in names}}
    expected = [stacks[name.partition("@")[2]][int(name.partition("@")[0]) - 1] for name in names]
    assert np.array_equal(read_mrc(out / "copy.mrcs"), np.stack(expected))
