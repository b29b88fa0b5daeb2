"""Train the networks that find squares and holes: `python -m training.targets squares|holes`.

Each learns from simulated grids on one CPU thread: 4,500 steps and 12 minutes of an EPYC core for the holes. Drawing costs more
than learning, so pictures are drawn for every third step only; the others see earlier ones mirrored or turned. The file is
written every hundred steps, with the mean of the last weights, and no step knows how many are to come: a shorter run leaves
what it would have had then. With `--continue` the training starts from what is there. `training.target_calibration` has to
follow.

The networks in the package are what this script and then `training.target_calibration` give with their default arguments: that
of the squares in 1,000 steps, three minutes.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from magellon.algorithms.targets.planes import MULTIPLE, PLANES
from magellon.io.network import read_weights, write_network
from training.target_data import KINDS, SIZES, STRIDES, Answers, Batch, draw_batch
from training.target_net import TargetNet

FOLDER = Path(__file__).parents[1] / "src" / "magellon" / "backends" / "ptolemy"


STEPS = {"holes": 4500, "squares": 1000}
DRAWN_EVERY, KEPT = 3, 60
"""New pictures come every third step; the others turn one of so many batches of the last ones."""


def measure_loss(maps: torch.Tensor, answers: Answers, angled: bool, kinds: int) -> tuple[torch.Tensor, dict[str, float]]:
    """Penalty-reduced focal loss of the centres (Law & Deng 2018, Zhou et al. 2019), absolute error of the sizes, places and
    angles, cross-entropy of the kinds."""
    logit, heat, weight = maps[:, 0], answers.heat, answers.weight
    chance = torch.sigmoid(logit)
    centre = heat == 1
    found = -functional.logsigmoid(logit) * (1 - chance) ** 2 * centre
    wrong = -functional.logsigmoid(-logit) * chance**2 * (1 - heat) ** 4 * ~centre
    count = (centre * weight).sum().clamp(min=4)
    focal = ((found + wrong) * weight).sum() / count
    asked = answers.kind >= 0
    cells = asked.sum().clamp(min=1)
    error = (maps[:, 1:4] - answers.values[:, :3]).abs() * torch.tensor([1.0, 3.0, 3.0])[:, None, None]
    values = (error.sum(1) * asked).sum() / cells
    if angled:
        values = values + ((maps[:, 4 + kinds :] - answers.values[:, 3:]).abs().sum(1) * asked).sum() / cells
    sort = (
        functional.cross_entropy(maps[:, 4 : 4 + kinds], answers.kind.clamp(min=-1), ignore_index=-1, reduction="sum") / cells
    )
    parts = {"centre": float(focal.detach()), "values": float(values.detach()), "kind": float(sort.detach())}
    return focal + values + 0.5 * sort, parts


def train(what: str, steps: int, path: Path, seed: int, go_on: bool) -> None:
    """Train and write, again and again."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, len(what)])
    angled, kinds = what == "squares", KINDS[what]
    net = TargetNet(len(kinds), STRIDES[what], angled)
    if go_on:
        net.load_state_dict(read_weights(path))
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
    mean: dict[str, float] = {}
    pool: list[Batch] = []
    average = torch.cat([each.detach().flatten() for each in net.parameters()])
    for step in range(steps):
        rate = 2e-3 * min(1, (step + 1) / 50) / math.sqrt(1 + step / 300)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = take_batch(rng, what, step, pool)
        planes, answers = batch.planes, batch.answers
        optimizer.zero_grad()
        loss, parts = measure_loss(net(planes.contiguous(memory_format=torch.channels_last)), answers, angled, len(kinds))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        average.lerp_(torch.cat([each.detach().flatten() for each in net.parameters()]), max(1 / 200, 5 / (step + 5)))
        mean = {key: 0.97 * mean.get(key, value) + 0.03 * value for key, value in parts.items()}
        if step % 25 == 24:
            words = ", ".join(f"{key} {value:.3f}" for key, value in mean.items())
            print(f"step {step + 1}: {words}; {time.process_time():.0f} CPU s", flush=True)
        if step % 100 == 99 or step == steps - 1:
            save(net, average, path, what)


def take_batch(rng: np.random.Generator, what: str, step: int, pool: list[Batch]) -> Batch:
    """New pictures, which `pool` keeps in place of its oldest, or turned ones of `pool`."""
    if step % DRAWN_EVERY == 0:
        pool.append(draw_batch(rng, what))
        del pool[:-KEPT]
        return pool[-1]
    across, down, swap = (bool(each) for each in rng.integers(0, 2, 3))
    return pool[int(rng.integers(len(pool)))].turn(across, down, swap)


def save(net: TargetNet, average: torch.Tensor, path: Path, what: str) -> None:
    """Write the network, with the average of its last weights and what whoever runs it has to know."""
    low, high = SIZES[what]
    facts = {"stride": net.stride, "kinds": list(KINDS[what]), "sizes": [low, high], "angled": net.angled}
    example = torch.zeros(1, PLANES, 2 * MULTIPLE, 2 * MULTIPLE)
    net = copy.deepcopy(net)
    torch.nn.utils.vector_to_parameters(average, net.parameters())
    write_network(path, net, example, {"planes": (2, 3), "maps": (2, 3)}, {"targets": json.dumps(facts)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=sorted(KINDS))
    parser.add_argument("--steps", type=int, help="by default what the shipped network had")
    parser.add_argument("--out", type=Path, help="the network; by default the one in the backend's folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--continue", dest="go_on", action="store_true", help="start from the network that is there")
    options = parser.parse_args()
    path = options.out or FOLDER / f"{options.what}.onnx"
    train(options.what, options.steps or STEPS[options.what], path, options.seed, options.go_on)


if __name__ == "__main__":
    main()
