"""Signs and origins of angles, shifts and defocus, each pinned against RELION's own programs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from relion_tables import particle_optics

from magellon.algorithms.extraction import rescale_boxes
from magellon.algorithms.optics import CtfModel, ctf_rfft
from magellon.backends.stack_maker.backend import StackMaker
from magellon.backends.stack_maker.params import StackMakerParams
from magellon.contracts import Context, ExtractionInput, Micrograph, Picks
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import write_star

BOX, PIXEL = 64, 2.0


def blob(shape: tuple[int, ...], place: tuple[float, ...], sigma: float = 1.5) -> np.ndarray:
    """A Gaussian at a place given in array order."""
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    squared = sum((axis - centre) ** 2 for axis, centre in zip(axes, place, strict=True))
    return np.exp(-squared / (2 * sigma**2)).astype(np.float32)


def find_centre(image: np.ndarray) -> tuple[float, float]:
    """(x, y) of the mass above a tenth of the maximum, relative to pixel n // 2."""
    mass = np.clip(image - 0.1 * image.max(), 0, None)
    y, x = np.indices(image.shape) - image.shape[0] // 2
    return float((mass * x).sum() / mass.sum()), float((mass * y).sum() / mass.sum())


def project(folder: Path, relion, place: tuple[float, float, float], **options: float) -> np.ndarray:
    """RELION's projection of a blob at (x, y, z) relative to the centre of the map."""
    x, y, z = place
    write_mrc(folder / "map.mrc", blob((BOX,) * 3, (z + BOX // 2, y + BOX // 2, x + BOX // 2)), PIXEL)
    relion("project", i="map.mrc", o="view.mrc", **options)
    return read_mrc(folder / "view.mrc")


@pytest.mark.parametrize("psi", [0.0, 35.0, -120.0])
def test_psi_turns_the_object_counter_clockwise_with_row_0_on_top(tmp_path: Path, relion, psi: float) -> None:
    x, y = 12.0, 5.0
    cos, sin = np.cos(np.deg2rad(psi)), np.sin(np.deg2rad(psi))
    found = find_centre(project(tmp_path, relion, (x, y, 0.0), psi=psi))
    assert found == pytest.approx((x * cos + y * sin, -x * sin + y * cos), abs=0.05)


def test_rot_and_tilt_are_the_zyz_angles(tmp_path: Path, relion) -> None:
    """Object to view: turn by rot about z, by tilt about y, by psi about z, each as psi above."""
    x, y, z = 9.0, -6.0, 11.0
    rot, tilt, psi = np.deg2rad([25.0, 40.0, -70.0])

    def turn_z(angle: float) -> np.ndarray:
        return np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])

    turn_y = np.array([[np.cos(tilt), 0, -np.sin(tilt)], [0, 1, 0], [np.sin(tilt), 0, np.cos(tilt)]])
    expected = turn_z(psi) @ turn_y @ turn_z(rot) @ [x, y, z]
    found = find_centre(project(tmp_path, relion, (x, y, z), rot=25.0, tilt=40.0, psi=-70.0))
    assert found == pytest.approx(tuple(expected[:2]), abs=0.05)


def test_content_lies_at_the_centre_minus_the_origin(tmp_path: Path, relion) -> None:
    write_mrc(tmp_path / "map.mrc", blob((BOX,) * 3, (BOX // 2,) * 3), PIXEL)
    write_star(
        tmp_path / "view.star",
        {
            "optics": particle_optics(BOX, PIXEL),
            "particles": {
                "rlnImageName": ["000001@none.mrcs"], "rlnOpticsGroup": [1], "rlnAngleRot": [0.0], "rlnAngleTilt": [0.0],
                "rlnAnglePsi": [30.0], "rlnOriginXAngst": [7.0], "rlnOriginYAngst": [-4.0],
            },
        },
    )  # fmt: skip
    relion("project", i="map.mrc", o="view", ang="view.star")
    (name,) = tmp_path.glob("view*.mrcs")
    assert find_centre(read_mrc(name).reshape(BOX, BOX)) == pytest.approx((-7.0 / PIXEL, 4.0 / PIXEL), abs=0.05)


@pytest.mark.parametrize("psi", [0.0, 50.0])
def test_relion_brings_our_boxes_to_the_true_centre_and_angle(tmp_path: Path, relion, psi: float) -> None:
    """A dumbbell at a fractional place, turned by psi: RELION's transformation of our box puts it upright in the centre."""
    x, y = 103.37, 88.71
    cos, sin = np.cos(np.deg2rad(psi)), np.sin(np.deg2rad(psi))
    turned = (12 * cos, -12 * sin)  # Where psi takes (12, 0).
    image = 10 - 6 * blob((200, 220), (y, x), 2.0) - 3 * blob((200, 220), (y + turned[1], x + turned[0]), 2.0)
    image += np.random.default_rng(1).normal(0, 0.02, image.shape)
    write_mrc(tmp_path / "mic.mrc", image.astype(np.float32), PIXEL)
    write_star(tmp_path / "picks.star", {"": {"rlnCoordinateX": [x], "rlnCoordinateY": [y], "rlnAnglePsi": [psi]}})
    example = ExtractionInput(
        micrograph=Micrograph(name="mic", path=tmp_path / "mic.mrc", pixel_size=PIXEL, shape=(200, 220)),
        picks=Picks(path=tmp_path / "picks.star", count=1, diameter=50.0),
    )
    StackMaker().run(example, StackMakerParams(box_size=64), Context(workdir=tmp_path))
    relion("stack_create", i="mic_extract.star", o="upright", apply_transformation=True)
    box = read_mrc(tmp_path / "upright.mrcs").reshape(64, 64)
    heavy = np.where(np.abs(np.indices(box.shape)[1] - 32) < 7, box, 0)
    light = np.where(np.abs(np.indices(box.shape)[1] - 44) < 5, box, 0)
    assert find_centre(heavy) == pytest.approx((0, 0), abs=0.1)
    assert find_centre(light) == pytest.approx((12, 0), abs=0.15)


def test_our_ctf_is_minus_relions(tmp_path: Path, relion) -> None:
    """The projection of a point through RELION's CTF, transformed, is the CTF: sign, defocus angle, phase shift."""
    delta = np.zeros((BOX,) * 3, dtype=np.float32)
    delta[BOX // 2, BOX // 2, BOX // 2] = 1
    write_mrc(tmp_path / "map.mrc", delta, PIXEL)
    model = CtfModel(11000.0, 8000.0, 27.0, 40.0, voltage=200.0, spherical_aberration=1.4, amplitude_contrast=0.07)
    write_star(
        tmp_path / "view.star",
        {
            "optics": particle_optics(BOX, PIXEL, 200.0, 1.4, 0.07),
            "particles": {
                "rlnImageName": ["000001@none.mrcs"], "rlnOpticsGroup": [1], "rlnAngleRot": [0.0], "rlnAngleTilt": [0.0],
                "rlnAnglePsi": [0.0], "rlnDefocusU": [11000.0], "rlnDefocusV": [8000.0], "rlnDefocusAngle": [27.0],
                "rlnPhaseShift": [40.0],
            },
        },
    )  # fmt: skip
    relion("project", i="map.mrc", o="plain", ang="view.star")
    relion("project", i="map.mrc", o="seen", ang="view.star", ctf=True)
    plain, seen = (np.fft.rfft2(read_mrc(tmp_path / f"{name}.mrcs").reshape(BOX, BOX)) for name in ("plain", "seen"))
    inside = np.abs(plain) > 1e-2 * np.abs(plain).max()
    inside[:, -1] = inside[BOX // 2] = False  # The Nyquist frequency has no sign.
    ratio = (seen[inside] / plain[inside]).real
    ours = ctf_rfft(model, (BOX, BOX), PIXEL).numpy()[inside]
    assert inside.sum() > 1000
    assert np.abs(ratio + ours).max() < 2e-3


def test_fourier_binning_keeps_sample_0(tmp_path: Path, relion) -> None:
    """RELION's rescaling and ours agree below Nyquist: x' = x / binning."""
    image = blob((96, 96), (30.0, 51.0), 4.0) + blob((96, 96), (60.0, 20.0), 4.0)
    write_mrc(tmp_path / "big.mrc", image, 1.0)
    relion("image_handler", i="big.mrc", o="small.mrc", angpix=1.0, rescale_angpix=3.0)
    ours = rescale_boxes(torch.from_numpy(image), 32).numpy()
    theirs = read_mrc(tmp_path / "small.mrc")
    assert np.abs(ours - theirs).max() < 1e-4
    assert np.unravel_index(ours.argmax(), ours.shape) in {(10, 17), (20, 7)}
