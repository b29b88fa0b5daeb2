"""Real spectra with published fits, and wrong fits that an alarm must catch."""

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor

from magellon.algorithms.ctf import Microscope, estimate_ctf, estimate_ctf_from_spectrum, judge_ctf
from magellon.algorithms.optics import CtfModel
from magellon.algorithms.spectrum import polar_average_spectrum
from magellon.io.mrc import read_mrc

PIXEL_SIZE = 1.39955
MICROSCOPE = Microscope(200, 1.4, 0.1)
NAMES = [f"20170629_{number:05d}_frameImage" for number in range(21, 29)]


def read_power(real_data: Path, name: str) -> Tensor:
    """The files hold amplitudes."""
    return torch.from_numpy(read_mrc(real_data / "ctf" / "power_spectra" / f"{name}_PS.mrc")) ** 2


@pytest.mark.parametrize("name", NAMES)
def test_within_one_percent_of_the_published_fit(real_data: Path, name: str) -> None:
    with open(real_data / "ctf" / "betagal_ps_reference_ctf.tsv") as file:
        rows = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        published = next(row for row in rows if row["id"] == name)
    fit = estimate_ctf_from_spectrum(read_power(real_data, name), PIXEL_SIZE, MICROSCOPE)
    assert float(fit.model.defocus_u) == pytest.approx(float(published["defocusU_A"]), rel=0.01)
    assert float(fit.model.defocus_v) == pytest.approx(float(published["defocusV_A"]), rel=0.01)
    assert fit.resolution < 5
    assert fit.score > 0.6
    assert fit.warnings == ()


@pytest.mark.parametrize("name", NAMES)
def test_the_alarm_catches_wrong_fits(real_data: Path, name: str) -> None:
    """ctffind 4.1.14 gave 3-5 µm for these spectra, which show 1 µm."""
    text = (real_data / "ctf" / "ctffind4-4.1.14" / f"{name}_PS.txt").read_text()
    u, v, angle = (float(value) for value in text.splitlines()[-1].split()[1:4])
    polar = polar_average_spectrum(read_power(real_data, name), PIXEL_SIZE)
    judged = judge_ctf(polar, PIXEL_SIZE, CtfModel(u, v, angle, 0.0, 200, 1.4, 0.1))
    assert float(judged.model.defocus_u) == pytest.approx(u)
    assert judged.score < 0.2
    assert any("explains the rings far better" in warning for warning in judged.warnings)


def test_the_alarm_lets_right_fits_pass(real_data: Path) -> None:
    polar = polar_average_spectrum(read_power(real_data, NAMES[3]), PIXEL_SIZE)
    judged = judge_ctf(polar, PIXEL_SIZE, CtfModel(11693.93, 11356.38, 73.808, 0.0, 200, 1.4, 0.1))
    assert judged.warnings == ()
    assert judged.score > 0.6


@pytest.mark.slow
def test_real_micrograph(real_data: Path) -> None:
    """Zeros of the first rings, measured by eye on the radial average at 13.9, 10.2, 8.3, 7.1 Å, belong to 1.05 µm."""
    image = torch.from_numpy(read_mrc(real_data / "micrographs" / "fei-extended.mrc"))
    fit = estimate_ctf(image, 0.85378)
    mean = (float(fit.model.defocus_u) + float(fit.model.defocus_v)) / 2
    assert mean == pytest.approx(10500, rel=0.02)
    assert fit.resolution < 5.5
    assert fit.warnings == ()
