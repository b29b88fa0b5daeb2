"""Atomic models from PDB and mmCIF files, expanded to their biological assembly."""

from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from magellon.errors import BadInput
from magellon.simulation.phantoms import AtomicModel

LARGEST = 20_000_000
"""Atoms."""
_FAR = 50_000.0
"""Å: coordinates beyond this are no molecule."""
_CONTACT = 150
"""Pairs of atoms between two chains that belong together."""


def read_structure(path: Path | str, assembly: str | None = None) -> AtomicModel:
    """Read the heavy atoms of a PDB or mmCIF file (may be gzipped), about their centre of mass.

    Args:
        assembly: name of the biological assembly; None: the first the file describes; without
            any, the largest group of chains in contact.

    Raises:
        BadInput: unreadable, without atoms, too large, or without that assembly.
    """
    try:
        structure = gemmi.read_structure(str(path))
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(f"{path}: not a PDB or mmCIF file: {error}") from error
    if not len(structure) or not any(True for _ in structure[0].all()):
        raise BadInput(f"{path}: holds no atoms")
    structure.setup_entities()
    structure.remove_hydrogens()
    structure.remove_waters()
    structure.remove_alternative_conformations()
    positions, elements, species, *chains = _take_atoms(structure, path)
    copies = _expand(structure, assembly, positions, (chains[0], chains[1]), path)
    count = sum(int(taken.sum()) for taken, _, _ in copies)
    if not 0 < count <= LARGEST:
        raise BadInput(f"{path}: its assembly has {count} atoms; from 1 to {LARGEST} are possible")
    everything = np.concatenate([positions[taken] @ matrix.T + shift for taken, matrix, shift in copies])
    everything -= everything.mean(axis=0)
    kinds = np.concatenate([elements[taken] for taken, _, _ in copies])
    return AtomicModel(Path(path).name.split(".")[0].lower(), everything.astype(np.float32), kinds, species)


def _take_atoms(
    structure: gemmi.Structure, path: Path | str
) -> tuple[NDArray[np.float64], NDArray[np.int64], tuple[str, ...], NDArray[np.str_], NDArray[np.str_]]:
    """Positions (n, 3), element of each, the elements' names, and the chain and subchain of each atom of the first model."""
    positions, elements, chains, subchains = [], [], [], []
    for chain in structure[0]:
        for residue in chain:
            for atom in residue:
                positions.append(atom.pos.tolist())
                elements.append(atom.element.name.upper())
                chains.append(chain.name)
                subchains.append(residue.subchain)
    where = np.array(positions, dtype=np.float64).reshape(-1, 3)
    if not len(where) or not np.isfinite(where).all() or np.abs(where).max() > _FAR:
        raise BadInput(f"{path}: holds no atoms, or coordinates that are not finite or beyond {_FAR:.0f} Å")
    # Elements without a tabulated form factor (unknown atoms are named X) count as carbon.
    known = [name if gemmi.Element(name).atomic_number in range(1, 93) else "C" for name in elements]
    species, index = np.unique(np.array(known), return_inverse=True)
    return where, index.astype(np.int64), tuple(str(name) for name in species), np.array(chains), np.array(subchains)


def _expand(
    structure: gemmi.Structure,
    assembly: str | None,
    positions: NDArray[np.float64],
    chains: tuple[NDArray[np.str_], NDArray[np.str_]],
    path: Path | str,
) -> list[tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]]:
    """Which atoms each copy takes, its rotation and its translation."""
    found = [entry for entry in structure.assemblies if assembly is None or entry.name == assembly]
    if assembly is not None and not found:
        raise BadInput(f"{path}: assembly {assembly!r}: known are {[entry.name for entry in structure.assemblies]}")
    if not found:
        return [(_largest_group(positions, chains[0]), np.eye(3), np.zeros(3))]
    copies = []
    for generator in found[0].generators:
        taken = np.isin(chains[0], list(generator.chains)) | np.isin(chains[1], list(generator.subchains))
        for operator in generator.operators:
            transform = operator.transform
            copies.append((taken, np.array(transform.mat.tolist()), np.array(transform.vec.tolist())))
    return [copy for copy in copies if copy[0].any()]


def _largest_group(positions: NDArray[np.float64], chains: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Atoms of the largest group of chains that share more than a crystal contact (pairs of atoms within 5 Å)."""
    names, index = np.unique(chains, return_inverse=True)
    pairs = cKDTree(positions).query_pairs(5.0, output_type="ndarray")
    contacts = np.zeros((len(names), len(names)))
    np.add.at(contacts, (index[pairs[:, 0]], index[pairs[:, 1]]), 1)
    contacts += contacts.T
    _, group = connected_components(contacts >= _CONTACT, directed=False)
    sizes = np.bincount(group[index])
    return np.asarray(group[index] == sizes.argmax())
