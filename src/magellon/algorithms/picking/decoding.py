"""From the network's output to picks: centres, calibrated probabilities, and the mask of dirt."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

import numpy as np
import torch
from scipy import ndimage
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
SHIFTS = torch.linspace(-0.5, 5, 111, dtype=torch.float64)
"""Of the log odds of all candidates; hardly downwards, for particles that are not much like each other still are particles."""
USUAL_SHIFT = 1.0
"""By how much, in log odds, the network is wrong about all of a micrograph's candidates alike: a standard deviation."""
LEAST_RESPONSE, MOST_RESPONSE, MOST_STRENGTH = -4.0, 14.0, 12.0
"""Of likeness: what is beyond is as good as this."""
CLEAR = 8.0
"""Strength beyond which the network alone tells particles: few of the calibration's fields are as clear."""
PRESENT, DOUBT = 0.5, 3
"""Probability that there are particles at all, below which a micrograph doubts its candidates, and the power of the doubt."""
SURE_OF_DIRT = 0.75
"""Probability that dirt reaches somewhere; what stays below is mostly a group of particles."""
TOP, MANY = 0.98, 20.0
"""Quantile of the logits that tells how sure the network gets, and candidates whose likeness to each other is to be trusted."""


@dataclass(frozen=True)
class Calibration:
    """How often a maximum of a logit is a particle: straight lines between points, found on fresh simulations.

    Attributes:
        likeness: weights of what `evidence` makes of the log odds and the likeness of a candidate; none: likeness is not asked.
        presence: weights of what `signs` says of the whole micrograph; none: there always are particles.
        responses: mean and standard deviation of the response of candidates that are no particles, and standard deviation of
            particles' about the strength; none: the network is never wrong about a whole micrograph.
    """

    logits: tuple[float, ...]
    probabilities: tuple[float, ...]
    likeness: tuple[float, ...] = ()
    presence: tuple[float, ...] = ()
    responses: tuple[float, ...] = ()

    def apply(self, logits: Tensor) -> Tensor:
        """(n,) float64 probabilities."""
        x = torch.tensor(self.logits, dtype=torch.float64, device=logits.device)
        y = torch.tensor(self.probabilities, dtype=torch.float64, device=logits.device)
        upper = torch.searchsorted(x, logits.to(torch.float64)).clamp(1, len(x) - 1)
        part = ((logits - x[upper - 1]) / (x[upper] - x[upper - 1])).clamp(0, 1)
        return y[upper - 1] + part * (y[upper] - y[upper - 1])

    def refine(self, logits: Tensor, likeness: Likeness) -> Tensor:
        """(n,) float64 probabilities, where it is known how much each of a micrograph's candidates is like the others.

        Those on a line are like the others for its sake: they are no likelier than the network says. Where candidates are no
        surer and no more like each other than those of noise, there probably are no particles at all.
        """
        alone = self.apply(logits)
        refined = torch.sigmoid(torch.logit(alone.clamp(1e-3, 1 - 1e-3)) + self.find_shift(alone, likeness))
        if self.likeness and 0 < likeness.strength < CLEAR:
            weights = torch.tensor(self.likeness, dtype=torch.float64, device=alone.device)
            refined = torch.sigmoid((evidence(refined, likeness) * weights).sum(-1))
        if likeness.lined is not None:
            refined = torch.where(likeness.lined, torch.minimum(refined, alone), refined)
        if self.presence and len(logits):
            weights = torch.tensor(self.presence, dtype=torch.float64, device=alone.device)
            # Where there are particles, each candidate is judged as it is; where there may be none, it is soon doubted.
            present = torch.sigmoid((signs(logits, alone, likeness) * weights).sum())
            refined = refined * (present / PRESENT).clamp(max=1) ** DOUBT
        return refined

    def find_shift(self, probabilities: Tensor, likeness: Likeness) -> float:
        """What to add to the log odds of all candidates (n,) of a micrograph, which looks like none the network has seen.

        It ranks candidates well but may be too sure, or too unsure, of all of them alike. Their likeness to each other knows
        nothing of that: the shift is the most probable one of a mixture whose shares are the network's probabilities and whose
        parts are the responses of particles and of others (after Saerens, Latinne & Decaestecker 2002,
        doi:10.1162/089976602753284446).
        """
        if not self.responses or likeness.strength <= 0 or not len(probabilities):
            return 0.0
        mean, spread, width = self.responses
        response = likeness.response.clamp(LEAST_RESPONSE, MOST_RESPONSE)
        particles = _bell(response, min(likeness.strength, MOST_STRENGTH), width)
        shifts = SHIFTS.to(response.device)
        odds = torch.logit(probabilities.to(torch.float64).clamp(1e-3, 1 - 1e-3))
        share = torch.sigmoid(odds + shifts[:, None])
        mixture = share * particles + (1 - share) * _bell(response, mean, spread)
        likelihood = torch.log(mixture).sum(1) - (shifts / USUAL_SHIFT) ** 2 / 2
        return float(shifts[likelihood.argmax()])

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
        if found.responses and (len(found.responses) != 3 or min(found.responses[1:]) <= 0):
            raise BadInput(f"the network's calibration has responses {found.responses}: must be a mean and two widths")
        return found


EVIDENCE, SIGNS = 6, 4
"""Values that `evidence` gives for a candidate, `signs` for a micrograph."""


def _bell(values: Tensor, mean: float, width: float) -> Tensor:
    """Density of a normal distribution, but that nothing is impossible."""
    return torch.exp(-(((values - mean) / width) ** 2) / 2) / width + 1e-6


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

    Specks are left out: the scores of what lies on them are low already. So are places where the network is nowhere sure.
    """
    cells = CELLS_PER_DIAMETER / STRIDE
    dirt = torch.sigmoid(output[DIRT])[None, None]
    smooth = torch.nn.functional.avg_pool2d(dirt, 5, stride=1, padding=2, count_include_pad=False)[0, 0]
    mask = smooth > 0.5
    if bool(mask.any()):
        mask = _keep_sure(mask, smooth)
    return grow_mask(mask, margin * cells) if bool(mask.any()) else mask


def _keep_sure(mask: Tensor, probability: Tensor) -> Tensor:
    """Connected parts of a mask (h, w) that somewhere reach `SURE_OF_DIRT` (Canny 1986, doi:10.1109/TPAMI.1986.4767851)."""
    labels, count = ndimage.label(mask.cpu().numpy())
    highest = ndimage.maximum(probability.cpu().numpy(), labels, range(1, count + 1))
    sure = 1 + np.flatnonzero(np.asarray(highest) >= SURE_OF_DIRT)
    return torch.from_numpy(np.isin(labels, sure)).to(mask.device)
