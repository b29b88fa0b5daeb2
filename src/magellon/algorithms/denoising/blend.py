"""What the network says and what the micrograph says, weighed for each frequency: the last, linear layer of the denoiser.

Where a micrograph is strong the network alone is best; where it is weak, near 1/8 Å, a little of the micrograph itself adds
what the network smoothed away, more of it where there is something to see (`gate.py`). The weights are those of least squares
against the truth of simulated exposures, and stay with the network.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.denoising.gate import measure_gate, pick_detail
from magellon.algorithms.fourier import radial_mean, rfft_frequencies
from magellon.errors import BadInput

RINGS = 24
"""Of equal width up to 0.5 cycles per pixel."""
LIMIT = 0.49999
"""Cycles per pixel, the highest that counts: so far below 0.5 that rounding puts no frequency of a grid on both sides of it."""

FAINT = 0.02
"""Weight of the micrograph beyond the network's frequencies where no other was found: about a Wiener filter's."""

Example = tuple[Tensor, Tensor, Tensor]
"""What was predicted, the image it was predicted from, and the truth, each (height, width), standardised and periodic."""


@dataclass(frozen=True)
class Blend:
    """Weights by ring of the network, of the image, and of the image's detail where the gate is open."""

    network: tuple[float, ...] = (1.0,) * RINGS
    image: tuple[float, ...] = (0.0,) * RINGS
    local: tuple[float, ...] = (0.0,) * RINGS
    beyond: tuple[float, float] = (FAINT, 0.0)
    """Of the micrograph, and of it where the gate is open, at frequencies that the network does not see."""

    def mix(self, predicted: Tensor, image: Tensor, gate: Tensor, passing: Tensor | None = None) -> Tensor:
        """The weighted sum up to 0.5 cycles per pixel; what lies in the corners is left out.

        Args:
            predicted, image, gate: (height, width) and periodic, the first two standardised.
            passing: (height, width // 2 + 1), by what the sum's transform is multiplied.
        """
        shape = (image.shape[0], image.shape[1])
        k_row, k_column = rfft_frequencies(shape, device=image.device)
        radius = torch.sqrt(k_row**2 + k_column**2)
        kept = radius < LIMIT if passing is None else passing * (radius < LIMIT)
        place = (radius * (2 * RINGS) - 0.5).clamp(0, RINGS - 1)
        whole = place.floor().long().clamp(max=RINGS - 2)
        part = place - whole
        total: Tensor | None = None
        for weights, each in ((self.network, predicted), (self.image, image), (self.local, pick_detail(image, gate))):
            ring = torch.tensor(weights, device=image.device)
            transform = torch.fft.rfft2(each) * torch.lerp(ring[whole], ring[whole + 1], part)
            total = transform if total is None else total.add_(transform)
        assert total is not None
        mixed: Tensor = torch.fft.irfft2(total * kept, s=shape)
        return mixed

    def to_text(self) -> str:
        return json.dumps({"network": self.network, "image": self.image, "local": self.local, "beyond": self.beyond})

    @staticmethod
    def from_text(text: str) -> "Blend":
        """What `to_text` wrote.

        Raises:
            BadInput: something else.
        """
        try:
            values = json.loads(text)
            network, image, local = (
                tuple(map(float, each)) for each in (values["network"], values["image"], values.get("local", Blend.local))
            )
            plain, gated = map(float, values.get("beyond", Blend.beyond))
            blend = Blend(network, image, local, (plain, gated))
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"the weights by frequency are not readable: {error!r}") from error
        for weights in (blend.network, blend.image, blend.local):
            if len(weights) != RINGS:
                raise BadInput(f"the weights by frequency are {len(weights)}, not {RINGS}")
        return blend


def fit_blend(examples: Iterable[Example], beyond: Iterable[Example] = ()) -> Blend:
    """Least squares over examples of one shape; no weight is negative.

    Each example counts by how much of the truth there is beside its noise, ring by ring, so that one crystal does not decide.

    Args:
        beyond: of the gate, and of the image and the truth at frequencies that the network does not see.
    """
    moments = torch.zeros(RINGS, 3, 4, dtype=torch.float64)
    for predicted, image, truth in examples:
        terms = (predicted, image, pick_detail(image, measure_gate(predicted)), truth)
        k_row, k_column = rfft_frequencies((image.shape[0], image.shape[1]))
        radius = (torch.sqrt(k_row**2 + k_column**2) * (2 * RINGS) - 0.5).clamp(min=0)
        transforms = [torch.fft.rfft2(each) for each in terms]
        products = [radial_mean((a * b.conj()).real, radius, RINGS).double() for a in transforms[:3] for b in transforms]
        moments += torch.stack(products, dim=1).reshape(RINGS, 3, 4) / products[5].clamp(min=1e-12)[:, None, None]
    network, image_weights, local = zip(*(_solve(each) for each in moments), strict=True)
    return Blend(network, image_weights, local, fit_beyond(beyond))


def fit_beyond(examples: Iterable[Example]) -> tuple[float, float]:
    """Weights where the network sees nothing, from gates, images and truths at those frequencies.

    Each weight is the best one of the example in the middle: those with carbon or a crystal all over would have nearly all.
    """
    found = []
    for gate, image, truth in examples:
        rows = torch.stack([image, gate * image, truth]).flatten(1).double()
        found.append([float(row @ rows[2] / row.square().sum().clamp(min=1e-12)) for row in rows[:2]])
    if not found:
        return Blend.beyond
    plain, alone = torch.tensor(found).clamp(min=0).median(dim=0).values.tolist()
    return round(plain, 5), round(max(alone - plain, 0.0), 5)


def _solve(moments: Tensor) -> list[float]:
    """Weights (n,) none of which is negative, from products (n, n + 1) of the terms with each other and with the truth."""
    count = len(moments)
    weights, used = torch.zeros(count, dtype=torch.float64), list(range(count))
    while used:
        matrix = moments[used][:, used]
        matrix = matrix + 1e-3 * torch.diag(matrix.diagonal().clamp(min=1e-12))
        solved = torch.linalg.solve(matrix, moments[used, -1])
        if float(solved.min()) >= 0:
            weights[used] = solved
            break
        used.pop(int(solved.argmin()))
    return [round(float(weight), 5) for weight in weights]
