"""What a classification is asked for, and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from magellon.algorithms.classification.disc import Disc
from magellon.algorithms.classification.particles import Poses
from magellon.algorithms.classification.seeding import Seeds


@dataclass(frozen=True)
class Settings:
    """How to classify."""

    classes: int
    rounds: int = 25
    seed: int = 0
    seeds: Seeds = "neighbours"
    """How the first classes are found: from pairs of particles, by the autoencoder, at random, or by splitting alone."""


@dataclass(frozen=True)
class Start:
    """Classes to begin with."""

    references: Tensor
    """(K, d) complex64, of the run's disc."""
    limits: Tensor
    """(K,) int64: shells that may be trusted."""


@dataclass(frozen=True)
class Classification:
    """Classes and where each particle is in them."""

    poses: Poses
    averages: Tensor
    """(K, d) complex64: Wiener-filtered to each class's limit, masked, centred."""
    halves: Tensor
    """(2, K, d): averages of the halves, without a filter, where the references of the last round lay."""
    occupancy: Tensor
    """(K,) particles, by probability."""
    limits: Tensor
    """(K,) int64: the shells in which the halves agree though the alignment did not know them."""
    aligned: int
    """Shells that particles were compared in last."""
    first: int
    """Shells every class started with; a class whose limit this is has shown nothing."""
    correlation: Tensor
    """(K, shells + 1) of the halves. Biased by the common alignment up to each class's limit; beyond it, not."""
    disc: Disc
    proof: float
    """Standard deviations by which all halves agree beyond `aligned`; infinite where shells were taken."""


@dataclass(frozen=True)
class Voice:
    """What is said while computing."""

    progress: Callable[[float, str], None] = field(default=lambda fraction, message: None)
    """Fraction done and what is being done; may raise to stop."""
    log: Callable[[str], None] = field(default=lambda message: None)
