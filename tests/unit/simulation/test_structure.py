"""Atomic models from files."""

import os
from pathlib import Path

import numpy as np
import pytest

from magellon.errors import BadInput
from magellon.simulation.structure import read_structure

DIMER = """\
REMARK 350 BIOMOLECULE: 1
REMARK 350 AUTHOR DETERMINED BIOLOGICAL UNIT: DIMERIC
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000
ATOM      1  N   GLY A   1      10.000   0.000   0.000  1.00 20.00           N
ATOM      2  CA  GLY A   1      11.400   0.000   0.000  1.00 20.00           C
ATOM      3  HA  GLY A   1      11.900   0.000   1.000  1.00 20.00           H
ATOM      4  C   GLY A   1      12.000   1.400   0.000  1.00 20.00           C
HETATM    5  O   HOH A   2      30.000   1.400   0.000  1.00 20.00           O
END
"""


def test_assembly_is_expanded_and_water_left_out(tmp_path: Path) -> None:
    path = tmp_path / "dimer.pdb"
    path.write_text(DIMER)
    model = read_structure(path)
    assert len(model.positions) == 6
    assert model.species == ("C", "N")
    assert model.positions.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-5)
    assert np.ptp(model.positions[:, 0]) == pytest.approx(24, abs=1e-3)
    with pytest.raises(BadInput, match="assembly '7'"):
        read_structure(path, "7")


@pytest.mark.parametrize("text", ["", "no structure at all\n", "END\n"])
def test_files_without_atoms_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.pdb"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"bad\.pdb"):
        read_structure(path)


def structures() -> Path:
    """The folder of PDB files beside the real data."""
    default = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "structures"
    folder = Path(os.environ["MAGELLON_REAL_DATA"]).parent / "structures" if "MAGELLON_REAL_DATA" in os.environ else default
    if not folder.is_dir():
        pytest.skip(f"no structures in {folder}")
    return folder


@pytest.mark.parametrize(
    ("name", "atoms", "diameter"), [("7ddo.pdb.gz", 6461, 130), ("2xhe.cif.gz", 6267, 123), ("6qt9.cif.gz", 60 * 42370, 855)]
)
def test_real_structures(name: str, atoms: int, diameter: float) -> None:
    """Two small complexes and a virus of 60 copies."""
    model = read_structure(structures() / name)
    assert len(model.positions) == atoms
    assert model.diameter == pytest.approx(diameter, abs=3)
