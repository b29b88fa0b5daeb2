"""Power spectra of micrographs: periodograms, polar averages, and pictures in which Thon rings can be seen."""

from magellon.algorithms.spectrum.ice import measure_ice
from magellon.algorithms.spectrum.polar import PolarSpectrum, polar_average_image, polar_average_spectrum
from magellon.algorithms.spectrum.power import centred_power, periodogram, taper_edges

__all__ = [
    "PolarSpectrum",
    "centred_power",
    "measure_ice",
    "periodogram",
    "polar_average_image",
    "polar_average_spectrum",
    "taper_edges",
]
