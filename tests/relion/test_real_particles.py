"""Real particles, read with our readers and written again with our writers, are read by RELION unchanged."""

from pathlib import Path

import numpy as np
import pytest
from relion_tables import particle_optics

from magellon.io.mrc import MrcStackWriter, open_mrc, read_mrc
from magellon.io.star import read_star, write_star


def test_half_precision_stacks_of_relion_5(tmp_path: Path, relion, real_data: Path) -> None:
    """Two micrographs of beta-galactosidase, float16, which RELION 3.1 cannot read as they are."""
    folder = real_data / "particles" / "betagal"
    source = read_star(folder / "particles.star")
    particles = source["particles"]
    (tmp_path / "stacks").mkdir()
    names = sorted({Path(name.partition("@")[2]).name for name in particles.texts("rlnImageName")})[:2]
    expected = []
    for name in names:
        with open_mrc(folder / name) as stack, MrcStackWriter(tmp_path / "stacks" / name, 64, 3.54) as writer:
            for image in stack:
                writer.append(image)
                expected.append(image)
    rows = [row for row, name in enumerate(particles.texts("rlnImageName")) if Path(name).name in names]
    columns = {label: [values[row] for row in rows] for label, values in particles.items()}
    columns["rlnImageName"] = [f"{name.partition('@')[0]}@stacks/{Path(name).name}" for name in columns["rlnImageName"]]
    optics = {label: values for label, values in source["optics"].items() if label != "rlnMtfFileName"}
    write_star(tmp_path / "ours.star", {"optics": optics, "particles": columns})
    relion("stack_create", i="ours.star", o="copy")
    copied = read_mrc(tmp_path / "copy.mrcs")
    assert len(copied) == len(rows) == len(expected)
    order = [(names.index(Path(name).name), int(name.partition("@")[0])) for name in columns["rlnImageName"]]
    assert order == sorted(order)
    assert np.array_equal(copied, np.stack(expected))
    theirs = read_star(tmp_path / "copy.star")["particles"]
    for label in ("rlnCoordinateX", "rlnDefocusU", "rlnDefocusAngle", "rlnAutopickFigureOfMerit"):
        assert theirs.floats(label) == pytest.approx([float(value) for value in columns[label]], rel=1e-5, abs=1e-5)


def test_particles_of_relion_3_0(tmp_path: Path, relion, real_data: Path) -> None:
    """50S subunits with magnification and detector pixel in place of an optics table."""
    old = read_star(real_data / "particles" / "empiar_10076_7.star")[""]
    pixel = old.floats("rlnDetectorPixelSize")[0] * 1e4 / old.floats("rlnMagnification")[0]
    stack = read_mrc(real_data / "particles" / "empiar_10076_7.mrc")
    with MrcStackWriter(tmp_path / "s50.mrcs", stack.shape[-1], pixel) as writer:
        for image in stack:
            writer.append(image)
    particles = {
        "rlnImageName": [f"{int(name.partition('@')[0]):06d}@s50.mrcs" for name in old.texts("rlnImageName")],
        "rlnOpticsGroup": [1] * old.rows,
        **{label: old[label] for label in ("rlnMicrographName", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")},
    }
    write_star(tmp_path / "ours.star", {"optics": particle_optics(320, pixel, 300.0, 2.7, 0.07), "particles": particles})
    relion("stack_create", i="ours.star", o="copy")
    assert np.array_equal(read_mrc(tmp_path / "copy.mrcs"), stack)
    copied = read_star(tmp_path / "copy.star")
    assert copied["optics"].floats("rlnImagePixelSize") == pytest.approx([1.31], abs=1e-4)
    assert copied["particles"].floats("rlnDefocusU") == old.floats("rlnDefocusU")
