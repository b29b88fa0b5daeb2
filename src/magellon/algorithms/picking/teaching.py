"""Teaching the picking network a session's particle: a short training that starts from, and stays near, what it knows.

Known centres are right, the places of rejected picks are probably wrong, and about doubtful ones nothing is learned. Part of
the micrographs is held out: only there is the taught network compared with the one it came from. What it knows of dirt is kept
by teaching it its own earlier answers (Li & Hoiem 2016, arXiv:1606.09282), and its weights are drawn back to where they started
(Li et al. 2018, arXiv:1802.01483).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from magellon.algorithms.parallel import single_threaded_kernels
from magellon.algorithms.picking.decoding import Calibration, Found, find_candidates
from magellon.algorithms.picking.evaluation import PickingScore, match_candidates, score_candidates
from magellon.algorithms.picking.learning import (
    Target,
    draw_bumps,
    make_target,
    picker_loss,
    stack_targets,
    to_output,
)
from magellon.algorithms.picking.network import DIRT, MULTIPLE, STRIDE, PickerNet
from magellon.algorithms.picking.network_picks import apply_network, score_found
from magellon.algorithms.picking.turning import turn, turn_offset
from magellon.algorithms.picking.view import View
from magellon.errors import BadInput

CROP = 128
"""Cells of a side of what the network is shown at a time."""
REJECTED_WEIGHT = 0.5
"""Of the places of rejected picks in learning that there is no particle."""
FEWEST_MICROGRAPHS, FEWEST_PARTICLES = 2, 20
LEAST_GAIN = 0.002
"""Of the average precision, for the taught network to be the better one."""


@dataclass(frozen=True)
class Lesson:
    """One micrograph. Positions are (n, 2) float64, (y, x) in cells of the view."""

    name: str
    view: View
    centres: Tensor
    rejected: Tensor
    doubtful: Tensor


@dataclass(frozen=True)
class TeachingSettings:
    """How long, how fast, and how near to the start."""

    steps: int = 200
    batch: int = 4
    rate: float = 5e-4
    pull: float = 0.02
    """Weight of the squared distance to the starting weights, relative to their own size."""
    held_out: float = 0.25
    """Part of the micrographs on which the result is judged."""


@dataclass(frozen=True)
class Taught:
    """What came out.

    Attributes:
        net: the taught network if it is better, otherwise the one it started from.
        calibration: of its scores.
        held_out: names of the micrographs on which both were judged.
    """

    net: PickerNet
    calibration: Calibration
    improved: bool
    before: PickingScore
    after: PickingScore
    held_out: tuple[str, ...]


class TooLittle(BadInput):
    """There is not enough to learn from."""


NOTHING = PickingScore(0.0, 0.0, 0.0, 0.0, ())
"""Where nothing could be judged."""


def keep_network(start: tuple[PickerNet, Calibration]) -> Taught:
    """The network as it was, judged on nothing."""
    return Taught(*start, improved=False, before=NOTHING, after=NOTHING, held_out=())


def load_net(weights: dict[str, Tensor]) -> PickerNet:
    """The network with weights read from a file.

    Raises:
        BadInput: they are those of another network.
    """
    net = PickerNet()
    own = {name: value for name, value in weights.items() if name in net.state_dict()}
    try:
        net.load_state_dict(own)
    except RuntimeError as error:
        raise BadInput(f"the weights are not those of a picker: {str(error).splitlines()[-1].strip()}") from error
    return net.train(False)


def teach(
    start: tuple[PickerNet, Calibration],
    lessons: Sequence[Lesson],
    settings: TeachingSettings,
    seed: int,
    progress: Callable[[float, str], None] = lambda fraction, message: None,
) -> Taught:
    """Teach a network what some micrographs show, and judge it on others.

    One thread, so that the same lessons give the same bytes on any number of cores.

    Raises:
        TooLittle: too few micrographs or particles to learn from.
    """
    generator = torch.Generator().manual_seed(seed)
    held_out, used = split_lessons(lessons, settings.held_out, generator)
    net, calibration = start
    with single_threaded_kernels():  # sums over a batch depend on how many threads share them
        before = judge(net, calibration, held_out)
        taught = _train(net, used, settings, generator, progress)
        adjusted = adjust_calibration(taught, calibration, [*used, *held_out])
        after = judge(taught, adjusted, held_out)
    improved = after.average_precision >= before.average_precision + LEAST_GAIN and after.f1 >= before.f1 - LEAST_GAIN
    names = tuple(lesson.name for lesson in held_out)
    return Taught(taught if improved else net, adjusted if improved else calibration, improved, before, after, names)


def split_lessons(lessons: Sequence[Lesson], share: float, generator: torch.Generator) -> tuple[list[Lesson], list[Lesson]]:
    """Those held out, and those to learn from; both hold particles.

    Raises:
        TooLittle: too few micrographs or particles.
    """
    useful = [lesson for lesson in lessons if len(lesson.centres)]
    count = sum(len(lesson.centres) for lesson in useful)
    if len(useful) < FEWEST_MICROGRAPHS or count < FEWEST_PARTICLES:
        raise TooLittle(
            f"{count} particles on {len(useful)} of {len(lessons)} micrographs: teaching needs at least {FEWEST_PARTICLES} on "
            f"at least {FEWEST_MICROGRAPHS}, some of which are held out to judge the result"
        )
    order = torch.randperm(len(useful), generator=generator).tolist()
    number = min(max(1, round(share * len(useful))), len(useful) - 1)
    held = set(order[:number])
    return [useful[index] for index in sorted(held)], [each for index, each in enumerate(useful) if index not in held]


def judge(net: PickerNet, calibration: Calibration, lessons: Sequence[Lesson]) -> PickingScore:
    """How well a network finds what the lessons hold."""
    scores, hits = [], []
    for lesson in lessons:
        output, found = _look(net, lesson)
        hit, sure = match_candidates(found.positions, lesson.centres, lesson.doubtful)
        everywhere = torch.ones(output.shape[-2:], dtype=torch.bool)
        scores.append(score_found(calibration, lesson.view, everywhere, found)[0][sure])
        hits.append(hit[sure])
    return score_candidates(torch.cat(scores), torch.cat(hits), sum(len(lesson.centres) for lesson in lessons))


def adjust_calibration(net: PickerNet, calibration: Calibration, lessons: Sequence[Lesson]) -> Calibration:
    """The calibration moved to fit what the lessons show: slope and offset of the log odds, held near 1 and 0."""
    found = [_find(net, lesson) for lesson in lessons]
    logits, hits = torch.cat([each for each, _ in found]), torch.cat([each for _, each in found]).to(torch.float64)
    odds = torch.logit(calibration.apply(logits).clamp(1e-3, 1 - 1e-3))
    slope, offset = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for _ in range(20):  # Newton
        rate = torch.sigmoid(slope * odds + offset)
        weight = rate * (1 - rate)
        gradient = torch.stack([((rate - hits) * odds).sum() + 20 * (slope - 1), (rate - hits).sum() + 2 * offset])
        mixed = (weight * odds).sum()
        matrix = torch.stack([torch.stack([(weight * odds**2).sum() + 20, mixed]), torch.stack([mixed, weight.sum() + 2])])
        step = torch.linalg.solve(matrix, gradient).clamp(-1, 1)
        slope, offset = (slope - step[0]).clamp(min=0.1), offset - step[1]
    known = torch.tensor(calibration.probabilities, dtype=torch.float64).clamp(1e-3, 1 - 1e-3)
    moved = torch.sigmoid(slope * torch.logit(known) + offset)
    return replace(calibration, probabilities=tuple(round(value, 5) for value in moved.tolist()))


def _look(net: PickerNet, lesson: Lesson) -> tuple[Tensor, Found]:
    with torch.no_grad():
        output = apply_network(net, lesson.view)
    return output, find_candidates(output, 0.5)


def _find(net: PickerNet, lesson: Lesson) -> tuple[Tensor, Tensor]:
    """Logits of the candidates, and whether each is a particle; doubtful ones left out."""
    _, found = _look(net, lesson)
    hits, sure = match_candidates(found.positions, lesson.centres, lesson.doubtful)
    return found.logits[sure], hits[sure]


def _train(
    start: PickerNet,
    lessons: Sequence[Lesson],
    settings: TeachingSettings,
    generator: torch.Generator,
    progress: Callable[[float, str], None],
) -> PickerNet:
    net = PickerNet()
    net.load_state_dict(start.state_dict())
    anchors = [parameter.detach().clone() for parameter in start.parameters()]
    sizes = [anchor.square().mean().sqrt().clamp(min=1e-3) for anchor in anchors]
    with torch.no_grad():
        known = [torch.sigmoid(_pad(apply_network(start, lesson.view)[DIRT])) for lesson in lessons]
    targets = [_make_target(lesson, dirt) for lesson, dirt in zip(lessons, known, strict=True)]
    views = [_pad(lesson.view.channels) for lesson in lessons]
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=0.0)
    for step in range(settings.steps):
        progress(step / settings.steps, f"step {step} of {settings.steps}")
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * min(1.0, (step + 1) / 10, 2 * (settings.steps - step) / settings.steps)
        batch = [_draw_crop(views, targets, generator) for _ in range(settings.batch)]
        loss = picker_loss(net(torch.stack([view for view, _ in batch])), stack_targets([target for _, target in batch]))
        away = [
            ((parameter - anchor) / size).square().mean()
            for parameter, anchor, size in zip(net.parameters(), anchors, sizes, strict=True)
        ]
        loss = loss + settings.pull * torch.stack(away).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    return net.train(False)


def _make_target(lesson: Lesson, dirt: Tensor) -> Target:
    """The lesson's centres, its doubts, and for dirt the earlier answer."""
    height, width = lesson.view.channels.shape[-2:]
    shape = (height + -height % MULTIPLE, width + -width % MULTIPLE)
    target = make_target(shape, lesson.centres, lesson.doubtful, None)
    rejected, _ = draw_bumps((shape[0] // STRIDE, shape[1] // STRIDE), to_output(lesson.rejected))
    counts = torch.where((rejected > 0.1) & (target.bumps[0] < 0.1), REJECTED_WEIGHT * target.counts[0], target.counts[0])
    return replace(target, counts=counts[None], dirt=dirt[None], dirt_known=torch.ones_like(target.dirt_known))


def _pad(image: Tensor) -> Tensor:
    """Sides made multiples of what the network needs (of half of that at its output), by repeating the border."""
    multiple = MULTIPLE if image.ndim == 3 else MULTIPLE // STRIDE
    pad = (0, -image.shape[-1] % multiple, 0, -image.shape[-2] % multiple)
    stacked = image if image.ndim == 3 else image[None]
    padded: Tensor = torch.nn.functional.pad(stacked[None], pad, mode="replicate")[0]
    return padded if image.ndim == 3 else padded[0]


def _draw_crop(views: Sequence[Tensor], targets: Sequence[Target], generator: torch.Generator) -> tuple[Tensor, Target]:
    """A part of a random micrograph, mirrored or transposed at random."""

    def draw(limit: int) -> int:
        return int(torch.randint(limit, (1,), generator=generator))

    number = draw(len(views))
    view, target = views[number], targets[number]
    sides = [min(CROP, side) for side in view.shape[-2:]]
    top, left = (draw((whole - side) // STRIDE + 1) * STRIDE for whole, side in zip(view.shape[-2:], sides, strict=True))
    out = (slice(top // STRIDE, (top + sides[0]) // STRIDE), slice(left // STRIDE, (left + sides[1]) // STRIDE))
    names = ("bumps", "offset", "counts", "dirt", "dirt_known")
    part = Target(*(getattr(target, name)[..., out[0], out[1]] for name in names))
    view = view[:, top : top + sides[0], left : left + sides[1]]
    small = (0, CROP - sides[1], 0, CROP - sides[0])
    if any(small):  # a micrograph smaller than a crop: nothing is learned beyond its border
        view = torch.nn.functional.pad(view, small)
        part = Target(*(torch.nn.functional.pad(getattr(part, name), [each // STRIDE for each in small]) for name in names))
    return turn_lesson(view, part, draw(8))


def turn_lesson(view: Tensor, target: Target, position: int) -> tuple[Tensor, Target]:
    """A view and its target in one of eight positions, see `turn`."""
    moved = Target(
        turn(target.bumps, position),
        turn_offset(target.offset, position),
        turn(target.counts, position),
        turn(target.dirt, position),
        turn(target.dirt_known, position),
    )
    return turn(view, position).contiguous(), moved
