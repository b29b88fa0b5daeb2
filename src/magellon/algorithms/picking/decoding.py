"""From the network's output to picks: centres, calibrated probabilities, and the mask of dirt."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

import torch
from torch import Tensor

from magellon.algorithms.picking.learning import BUMP_SIGMA
from magellon.algorithms.picking.likeness import Likeness
from magellon.algorithms.picking.mask import grow_mask
from magellon.algorithms.picking.network import CENTRE, DIRT, OFFSET_X, OFFSET_Y, STRIDE
from magellon.algorithms.picking.peaks import find_maxima, suppress_neighbours
from magellon.algorithms.picking.view import CELLS_PER_DIAMETER
from magellon.errors import BadInput

LEAST_PROBABILITY = 0.01
"""Fainter maxima are not looked at."""
FARTHEST_OFFSET = 1.5
"""Output cells."""
ADAPTATION = 0.5
"""How far, in log odds, the share of particles among candidates follows the micrograph.

All the way, a micrograph in which all candidates are doubtful would lose its particles.
"""
ROUNDS = 60
LEAST_RESPONSE, MOST_RESPONSE, MOST_STRENGTH = -4.0, 14.0, 12.0
"""Of likeness: what is beyond is as good as this."""
CLEAR = 8.0
"""Strength beyond which the network alone tells particles: few of the calibration's fields are as clear."""
DOUBT = 3
"""Power at which a micrograph doubts its candidates where it more probably has no particles."""
TOP, MANY = 0.98, 20.0
"""Quantile of the logits that tells how sure the network gets, and candidates whose likeness to each other is to be trusted."""


@dataclass(frozen=True)
class Calibration:
    """How often a maximum of a logit is a particle: straight lines between points, found on fresh simulations.

    Attributes:
        likeness: weights of what `evidence` makes of the log odds and the likeness of a candidate; none: likeness is not asked.
        presence: weights of what `signs` says of the whole micrograph; none: there always are particles.
    """

    logits: tuple[float, ...]
    probabilities: tuple[float, ...]
    likeness: tuple[float, ...] = ()
    presence: tuple[float, ...] = ()

    def apply(self, logits: Tensor) -> Tensor:
        """(n,) float64 probabilities."""
        x = torch.tensor(self.logits, dtype=torch.float64, device=logits.device)
        y = torch.tensor(self.probabilities, dtype=torch.float64, device=logits.device)
        upper = torch.searchsorted(x, logits.to(torch.float64)).clamp(1, len(x) - 1)
        part = ((logits - x[upper - 1]) / (x[upper] - x[upper - 1])).clamp(0, 1)
        return y[upper - 1] + part * (y[upper] - y[upper - 1])

    def score(self, logits: Tensor) -> Tensor:
        """(n,) float64 probabilities of all the candidates of one micrograph.

        The share of particles among its candidates is seldom that of the calibration's fields, and shifts every probability. It
        is found by expectation maximisation (Saerens, Latinne & Decaestecker 2002, doi:10.1162/089976602753284446).
        """
        known = self.apply(logits).clamp(1e-3, 1 - 1e-3)
        usual = min(max(sum(self.probabilities) / len(self.probabilities), 0.01), 0.99)
        if not len(known):
            return known
        odds, adapted = torch.logit(known), known
        for _ in range(ROUNDS):
            share = float(adapted.mean().clamp(1e-3, 1 - 1e-3))
            shift = math.log(share / (1 - share)) - math.log(usual / (1 - usual))
            adapted = torch.sigmoid(odds + ADAPTATION * shift)
        return adapted

    def refine(self, logits: Tensor, probabilities: Tensor, likeness: Likeness) -> Tensor:
        """(n,) float64 probabilities of `score`, now that it is known how much each candidate is like the others.

        Where candidates are no surer and no more like each other than those of noise, there probably are no particles at all.
        """
        refined = probabilities
        if self.likeness and 0 < likeness.strength < CLEAR:
            weights = torch.tensor(self.likeness, dtype=torch.float64, device=probabilities.device)
            refined = torch.sigmoid((evidence(probabilities, likeness) * weights).sum(-1))
        if self.presence and len(logits):
            weights = torch.tensor(self.presence, dtype=torch.float64, device=probabilities.device)
            # Where particles are more probable than none, each candidate is judged as it is; elsewhere it is soon doubted.
            present = torch.sigmoid((signs(logits, probabilities, likeness) * weights).sum())
            refined = refined * (2 * present).clamp(max=1) ** DOUBT
        return refined

    def to_metadata(self) -> dict[str, str]:
        return {"calibration": json.dumps(asdict(self))}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """What `to_metadata` wrote.

        Raises:
            BadInput: there is none, or it makes no sense.
        """
        try:
            values = json.loads(metadata["calibration"])
            found = cls(*(tuple(map(float, values.get(field.name, ()))) for field in fields(cls)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"the network holds no calibration of its scores ({error!r}): it is not a picker's") from error
        rising = all(a < b for a, b in zip(found.logits, found.logits[1:], strict=False))
        if len(found.logits) < 2 or len(found.logits) != len(found.probabilities) or not rising:
            raise BadInput("the network's calibration must be at least two points of rising logits")
        if len(found.likeness) not in (0, EVIDENCE) or len(found.presence) not in (0, SIGNS):
            given = f"{len(found.likeness)} weights of likeness and {len(found.presence)} of presence"
            raise BadInput(f"the network's calibration has {given}, not {EVIDENCE} and {SIGNS}")
        return found


EVIDENCE, SIGNS = 6, 4
"""Values that `evidence` gives for a candidate, `signs` for a micrograph."""


def evidence(probabilities: Tensor, likeness: Likeness) -> Tensor:
    """(n, EVIDENCE) float64, a sum of which is the log odds: of signal of strength s a response r speaks as r s - s² / 2."""
    odds = torch.logit(probabilities.to(torch.float64).clamp(1e-3, 1 - 1e-3))
    response = likeness.response.clamp(LEAST_RESPONSE, MOST_RESPONSE)
    strength = torch.full_like(odds, min(max(likeness.strength, 0.0), MOST_STRENGTH))
    return torch.stack([odds, torch.ones_like(odds), response, response * strength, strength, strength**2], dim=-1)


def signs(logits: Tensor, probabilities: Tensor, likeness: Likeness) -> Tensor:
    """(SIGNS,) float64, a sum of which is the log odds that a micrograph with candidates (n,), at least one, has particles."""
    top = torch.quantile(logits.to(torch.float64), TOP).clamp(-3, 3)
    many = (probabilities.to(torch.float64).sum() / MANY).clamp(max=1)
    return torch.stack([torch.ones_like(top), top, many, many * min(max(likeness.strength, 0.0), 5.0)])


@dataclass(frozen=True)
class Found:
    """Candidates, the best first.

    Attributes:
        positions: (n, 2) float64, (y, x) in cells of the view.
        logits: (n,) float64, not calibrated.
    """

    positions: Tensor
    logits: Tensor


def find_candidates(output: Tensor, separation: float, usable: Tensor | None = None) -> Found:
    """Maxima of the centre's probability, none nearer to a better one than `separation` diameters.

    Args:
        output: (4, h, w) of the network.
        usable: (h, w) bool, where a maximum may lie; None: everywhere.
    """
    probability = torch.sigmoid(output[CENTRE])
    allowed = probability > LEAST_PROBABILITY
    cells, _ = find_maxima(probability, allowed if usable is None else allowed & usable, 1)
    way = output[OFFSET_Y : OFFSET_X + 1, cells[:, 0], cells[:, 1]].T.to(torch.float64).clamp(-FARTHEST_OFFSET, FARTHEST_OFFSET)
    # A centre between cells raises none of them to its full height.
    missing = way.square().sum(-1).clamp(max=0.5) / (2 * BUMP_SIGMA**2)
    height = torch.log(probability[cells[:, 0], cells[:, 1]].to(torch.float64)) + missing
    height = height.clamp(max=math.log(1 - 1e-4))
    logits = height - torch.log(-torch.expm1(height))
    order = torch.sort(logits, descending=True, stable=True).indices
    positions, logits = (cells + way)[order], logits[order]
    kept = suppress_neighbours(positions, separation * CELLS_PER_DIAMETER / STRIDE)
    return Found((positions[kept] + 0.5) * STRIDE - 0.5, logits[kept])


def find_dirt(output: Tensor, margin: float) -> Tensor:
    """Where the network sees dirt, grown by `margin` diameters: (h, w) bool at the output's resolution.

    Specks are left out: the scores of what lies on them are low already.
    """
    cells = CELLS_PER_DIAMETER / STRIDE
    dirt = torch.sigmoid(output[DIRT])[None, None]
    smooth = torch.nn.functional.avg_pool2d(dirt, 5, stride=1, padding=2, count_include_pad=False)[0, 0]
    mask = smooth > 0.5
    return grow_mask(mask, margin * cells) if bool(mask.any()) else mask
