"""What the network says and what the micrograph says, weighed for each frequency: the last, linear layer of the denoiser.

Where a micrograph is strong the network alone is best; where it is weak, near 1/8 Å, a little of the micrograph itself adds
what the network smoothed away. The weights are those of least squares against the truth of simulated exposures, and stay with
the network.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.fourier import radial_mean, rfft_frequencies
from magellon.errors import BadInput

RINGS = 24
"""Of equal width up to 0.5 cycles per pixel; what lies in the corners has the weights of the last."""


@dataclass(frozen=True)
class Blend:
    """Weights by ring."""

    network: tuple[float, ...] = (1.0,) * RINGS
    image: tuple[float, ...] = (0.0,) * RINGS

    def mix(self, predicted: Tensor, image: Tensor) -> Tensor:
        """Both (height, width), standardised and periodic, to the weighted sum."""
        shape = (image.shape[0], image.shape[1])
        k_row, k_column = rfft_frequencies(shape, device=image.device)
        place = (torch.sqrt(k_row**2 + k_column**2) * (2 * RINGS) - 0.5).clamp(0, RINGS - 1)
        whole = place.floor().long().clamp(max=RINGS - 2)
        part = place - whole
        total: Tensor | None = None
        for weights, each in ((self.network, predicted), (self.image, image)):
            ring = torch.tensor(weights, device=image.device)
            transform = torch.fft.rfft2(each) * torch.lerp(ring[whole], ring[whole + 1], part)
            total = transform if total is None else total.add_(transform)
        mixed: Tensor = torch.fft.irfft2(total, s=shape)
        return mixed

    def to_text(self) -> str:
        return json.dumps({"network": self.network, "image": self.image})

    @staticmethod
    def from_text(text: str) -> "Blend":
        """What `to_text` wrote.

        Raises:
            BadInput: something else.
        """
        try:
            values = json.loads(text)
            blend = Blend(tuple(map(float, values["network"])), tuple(map(float, values["image"])))
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"the weights by frequency are not readable: {error!r}") from error
        if len(blend.network) != RINGS or len(blend.image) != RINGS:
            raise BadInput(f"the weights by frequency are {len(blend.network)} and {len(blend.image)}, not {RINGS}")
        return blend


def fit_blend(examples: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Blend:
    """Least squares over examples of (predicted, image, truth), each (height, width) of one shape and standardised.

    Each example counts by how much of the truth there is beside its noise, ring by ring, so that one crystal does not decide.
    """
    moments = torch.zeros(5, RINGS, dtype=torch.float64)
    for predicted, image, truth in examples:
        k_row, k_column = rfft_frequencies((image.shape[0], image.shape[1]))
        radius = torch.sqrt(k_row**2 + k_column**2) * (2 * RINGS) - 0.5
        n, x, t = (torch.fft.rfft2(each) for each in (predicted, image, truth))
        products = ((n, n), (x, x), (n, x), (n, t), (x, t))
        rings = torch.stack([radial_mean((a * b.conj()).real, radius.clamp(min=0), RINGS) for a, b in products]).double()
        moments += rings / rings[1].clamp(min=1e-12)
    nn, xx, nx, nt, xt = moments
    ridge = 1e-3 * xx
    determinant = (nn + ridge) * (xx + ridge) - nx**2
    network = ((xx + ridge) * nt - nx * xt) / determinant
    weight = ((nn + ridge) * xt - nx * nt) / determinant
    return Blend(tuple(round(float(w), 5) for w in network), tuple(round(max(float(w), 0.0), 5) for w in weight))
