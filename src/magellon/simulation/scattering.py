"""How atoms, water and carbon scatter fast electrons: form factors, interaction constant, mean potentials."""

import math
from collections.abc import Sequence

import gemmi
import torch
from torch import Tensor

from magellon.algorithms.optics import electron_wavelength
from magellon.units import Kilovolt

VOLT_PER_FORM_FACTOR = 47.87801
"""V Å³ per Å of electron form factor: h² / (2 pi m e)."""
WATER_DENSITY = 0.0314
"""Molecules in 1 Å³ of vitreous ice, 0.94 g/cm³."""
# Volume (Å³) an atom displaces (Fraser et al. 1978), with its hydrogens, and how many hydrogens it carries on average.
_DISPLACED = {"C": (21.6, 1.0), "N": (7.6, 1.0), "O": (12.0, 0.6), "S": (24.0, 0.7), "P": (12.0, 0.0), "SE": (28.7, 0.0)}


def interaction_constant(voltage: Kilovolt) -> float:
    """Phase in radians that 1 V Å of projected potential gives an electron (6.5e-4 at 300 kV)."""
    volts, rest = voltage * 1e3, 510998.95
    return 2 * math.pi / (electron_wavelength(voltage) * volts) * (rest + volts) / (2 * rest + volts)


def electron_form_factor(element: str, k_squared: Tensor) -> Tensor:
    """Of a neutral atom, in V Å³, at squared frequencies in 1/Å² (Peng et al. 1996: five Gaussians)."""
    coefficients = gemmi.Element(element).c4322.get_coefs()
    total = torch.zeros_like(k_squared)
    for a, b in zip(coefficients[:5], coefficients[5:], strict=True):
        total += a * torch.exp(-b / 4 * k_squared)
    return VOLT_PER_FORM_FACTOR * total


def water_form_factor(k_squared: Tensor) -> Tensor:
    """Of one water molecule, in V Å³, its hydrogens taken at 0.96 Å from the oxygen."""
    k = torch.sqrt(k_squared)
    bond = torch.sinc(2 * 0.96 * k)
    return electron_form_factor("O", k_squared) + 2 * bond * electron_form_factor("H", k_squared)


def ice_potential() -> float:
    """Mean inner potential of vitreous ice in V, as the sum of its molecules."""
    return WATER_DENSITY * float(water_form_factor(torch.zeros(1))[0])


def form_factors_in_ice(species: Sequence[str], k_squared: Tensor, b_factor: float) -> Tensor:
    """Atoms with their hydrogens, less the ice they displace: V Å³, (species, ...).

    The displaced ice is a Gaussian of the atom's volume, so that the inside of a molecule is free of ice at low resolution and
    its atoms keep their full strength at high resolution.
    """
    factors = []
    for element in species:
        volume, hydrogens = _DISPLACED.get(element.upper(), (20.0, 0.0))
        atom = electron_form_factor(element, k_squared) + hydrogens * electron_form_factor("H", k_squared)
        ice = ice_potential() * volume * torch.exp(-math.pi * volume ** (2 / 3) * k_squared)
        factors.append(atom * torch.exp(-b_factor / 4 * k_squared) - ice)
    return torch.stack(factors)
