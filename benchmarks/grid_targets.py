"""What the benchmarks of squares and holes share: pictures, time, and precision and recall by kind."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch

from benchmarks.cost import measure_call
from benchmarks.table import Row
from magellon.algorithms.targets.found import Found
from magellon.backends.ptolemy.networks import TargetNetwork, open_target_network
from magellon.simulation.grids import TargetMatch, match_targets

THREADS = 2
FoundT = TypeVar("FoundT", bound=Found)


@dataclass(frozen=True)
class Picture(Generic[FoundT]):
    """A picture and its truth."""

    image: np.ndarray
    centres: np.ndarray
    size: np.ndarray
    visible: np.ndarray
    kind: np.ndarray
    judge: Callable[[FoundT, TargetMatch], Mapping[str, float]]
    """Further figures, of which the mean over all pictures is reported; NaN where there is nothing to judge."""


@dataclass(frozen=True)
class Task(Generic[FoundT]):
    """One of the two detections, and what it is tried on."""

    step: str
    what: str
    """`squares` or `holes`."""
    kinds: Sequence[str]
    seed: int
    shapes: Sequence[tuple[int, int]]
    draw: Callable[[np.random.Generator, tuple[int, int], tuple[float, float]], Picture[FoundT]]
    """From a shape and a range of sizes."""
    sizes: tuple[float, float]
    timed: tuple[float, float]
    """Sizes in the picture of 1024 x 1024 that the time is taken on."""
    find: Callable[[TargetNetwork, torch.Tensor], FoundT]
    """As the backend does, at the default threshold."""


@dataclass(frozen=True)
class Answer:
    """One picture's answer beside its truth."""

    match: TargetMatch
    kind: np.ndarray
    """(found,): index of the kind that was said."""
    true_kind: np.ndarray
    """(objects,)"""
    more: Mapping[str, float]


@dataclass(frozen=True)
class WatchedNetwork(TargetNetwork):
    """Remembers the processor time of each call."""

    spent: list[float] = field(default_factory=list)

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        before = time.process_time()
        maps = super().__call__(planes)
        self.spent.append(time.process_time() - before)
        return maps


def run_task(task: Task[FoundT], quick: bool) -> list[Row]:
    """Pictures of several sizes that nothing was trained on; the time is that of 1024 x 1024 on two threads."""
    network = open_target_network(task.what, THREADS, "cpu")
    rng = np.random.default_rng(task.seed)
    answers, count = [], 6 if quick else 60
    for number in range(count):
        shape = task.shapes[number % len(task.shapes)]
        answers.append(_try_one(task, network, task.draw(rng, shape, (task.sizes[0], min(task.sizes[1], shape[0] / 4))), shape))
    large = torch.from_numpy(task.draw(np.random.default_rng(task.seed), (1024, 1024), task.timed).image)
    watched = WatchedNetwork(network.network, network.facts, network.calibration, network.model)
    task.find(watched, large)
    runs, before = (2 if quick else 5), sum(watched.spent)
    _, cost = measure_call(lambda: [task.find(watched, large) for _ in range(runs)])
    alone = (sum(watched.spent) - before) / runs
    low, high = task.sizes
    data = f"{count} pictures of {min(map(min, task.shapes))}-1024 px, {task.what} of {low:g}-{high:g} px, seed {task.seed}"
    note = f"time is of one picture of 1024², {alone:.2f} CPU s of it the network"
    seconds, cpu = cost.seconds / runs, cost.cpu_seconds / runs
    accuracy = summarise(answers, task.kinds)
    return [Row(task.step, "magellon ptolemy", data, 1, seconds, cpu, None, accuracy, THREADS, note)]


def _try_one(task: Task[FoundT], network: TargetNetwork, picture: Picture[FoundT], shape: tuple[int, int]) -> Answer:
    found = task.find(network, torch.from_numpy(picture.image))
    places = np.stack([found.x, found.y], axis=1)
    match = match_targets(places, picture.centres, picture.size, picture.visible, shape)
    said = np.array([task.kinds.index(kind) for kind in found.kind], dtype=np.int64)
    return Answer(match, said, picture.kind, picture.judge(found, match))


def summarise(answers: Sequence[Answer], kinds: Sequence[str]) -> dict[str, float]:
    """Precision and recall over all objects and as the mean over pictures, recall of each kind, the share of kinds said right,
    the error of places, and what the pictures' own judges say."""
    right, wrong, missed = (np.array([getattr(each.match, name) for each in answers]) for name in ("right", "wrong", "missed"))
    summary = {
        "precision": float(right.sum() / max((right + wrong).sum(), 1)),
        "recall": float(right.sum() / max((right + missed).sum(), 1)),
        "precision (mean of pictures)": _mean_share(right, wrong),
        "recall (mean of pictures)": _mean_share(right, missed),
    }
    for number, kind in enumerate(kinds):
        asked = [each.match.visible & (each.true_kind == number) for each in answers]
        reached = sum(int((each.match.reached & mask).sum()) for each, mask in zip(answers, asked, strict=True))
        summary[f"recall of {kind}"] = reached / max(sum(int(mask.sum()) for mask in asked), 1)
    pairs = [(each.kind[each.match.true >= 0], each.true_kind[each.match.true[each.match.true >= 0]]) for each in answers]
    said, true = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    summary["kinds right"] = float(np.mean(said == true)) if len(true) else 0.0
    good = kinds.index("good")
    summary["good among those called good"] = float(np.mean(true[said == good] == good)) if np.any(said == good) else 0.0
    errors = np.concatenate([each.match.error for each in answers])
    summary["place error (sizes)"] = float(np.nanmedian(errors)) if np.isfinite(errors).any() else 0.0
    for name in answers[0].more:
        summary[name] = float(np.nanmean([each.more[name] for each in answers]))
    return summary


def _mean_share(part: np.ndarray, rest: np.ndarray) -> float:
    """Of pictures that have any."""
    some = part + rest > 0
    return float(np.mean(part[some] / (part + rest)[some])) if some.any() else 0.0
