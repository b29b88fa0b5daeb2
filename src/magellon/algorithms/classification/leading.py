"""The largest eigenvalues of a sparse Hermitian matrix and their vectors, to the same bits each time.

A block of vectors is multiplied by a polynomial of the matrix that is large beyond the eigenvalues that are not wanted, and
turned to be orthogonal, a few times (Zhou, Saad, Tiago & Chelikowsky 2006, J. Comput. Phys. 219, 172). A block finds equal
eigenvalues too, as a graph in several parts has; ARPACK draws numbers of its own then.
"""

import torch
from torch import Tensor

_GUARD = 16
"""Vectors more than are wanted."""
_DEGREE, _SWEEPS = 16, 6


def find_leading(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues (q,), ascending, and their vectors (n, q).

    Args:
        matrix: (n, n), sparse and Hermitian, with eigenvalues from -1 to 1.
        count: how many; q is at most n.
    """
    size, width = len(matrix), count + _GUARD
    if 3 * width > size:
        values, vectors = torch.linalg.eigh(matrix.to_dense())
        return values[-count:], vectors[:, -count:]
    block = torch.randn(size, width, dtype=matrix.dtype, generator=torch.Generator().manual_seed(0))
    values, block = _rotate(matrix, block)
    for _ in range(_SWEEPS):
        values, block = _rotate(matrix, _filter(matrix, block, min(float(values[0]), 0.999)))
    return values[-count:], block[:, -count:]


def _filter(matrix: Tensor, block: Tensor, unwanted: float) -> Tensor:
    """Multiply by the Chebyshev polynomial that stays within 1 from -1 to `unwanted` and grows beyond."""
    middle, half = (unwanted - 1) / 2, (unwanted + 1) / 2
    before, now = block, (matrix @ block - middle * block) / half
    for _ in range(_DEGREE - 1):
        before, now = now, 2 / half * (matrix @ now - middle * now) - before
    return now


def _rotate(matrix: Tensor, block: Tensor) -> tuple[Tensor, Tensor]:
    """The best eigenvalues, ascending, and vectors in the space of the block (Rayleigh & Ritz)."""
    block = torch.linalg.qr(block).Q
    values, turns = torch.linalg.eigh(block.mH @ (matrix @ block))
    return values, block @ turns
