"""Power-spectrum pictures: what a microscopist looks at first."""

from pathlib import Path

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import Micrograph


class FftInput(Record):
    micrograph: Micrograph


class FftOutput(Record):
    picture: Path
    """`NAME_fft.png`, at most 1024 px, centred, oriented as the micrograph."""


FFT = Contract("fft", FftInput, FftOutput, sources={"micrograph": "motion_correction.unweighted"})
