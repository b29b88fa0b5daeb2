"""Train the networks that find squares and holes: `python -m training.targets squares|holes`.

Each learns from simulated grids drawn anew for every step, on one CPU thread; the default number of steps takes about 20
minutes of an EPYC core. The file is written every hundred steps, so that a shorter run leaves a network too; with `--continue`
the training starts from it. `python -m training.target_calibration` has to follow.

Those in the package had little time: `squares --steps 500 --seed 2` (3 CPU minutes), and for the holes the first 300 of
`--steps 600`, then `--continue --steps 400 --seed 3` (4 CPU minutes); then `target_calibration squares --count 40` and `holes
--count 24`. More steps make better networks.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from magellon.algorithms.targets.planes import MULTIPLE, PLANES
from magellon.io.network import read_weights, write_network
from training.target_data import KINDS, SIZES, STRIDES, Answers, draw_batch
from training.target_net import TargetNet

FOLDER = Path(__file__).parents[1] / "src" / "magellon" / "backends" / "ptolemy"


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
    for step in range(steps):
        rate = 2e-3 * min(1, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        planes, answers = draw_batch(rng, what)
        optimizer.zero_grad()
        loss, parts = measure_loss(net(planes.contiguous(memory_format=torch.channels_last)), answers, angled, len(kinds))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        mean = {key: 0.97 * mean.get(key, value) + 0.03 * value for key, value in parts.items()}
        if step % 25 == 24:
            words = ", ".join(f"{key} {value:.3f}" for key, value in mean.items())
            print(f"step {step + 1}: {words}; {time.process_time():.0f} CPU s", flush=True)
        if step % 100 == 99 or step == steps - 1:
            save(net, path, what)


def save(net: TargetNet, path: Path, what: str) -> None:
    """Write the network with what whoever runs it has to know."""
    low, high = SIZES[what]
    facts = {"stride": net.stride, "kinds": list(KINDS[what]), "sizes": [low, high], "angled": net.angled}
    example = torch.zeros(1, PLANES, 2 * MULTIPLE, 2 * MULTIPLE)
    write_network(path, net, example, {"planes": (2, 3), "maps": (2, 3)}, {"targets": json.dumps(facts)})
    net.train()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=sorted(KINDS))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--out", type=Path, help="the network; by default the one in the backend's folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--continue", dest="go_on", action="store_true", help="start from the network that is there")
    options = parser.parse_args()
    train(options.what, options.steps, options.out or FOLDER / f"{options.what}.onnx", options.seed, options.go_on)


if __name__ == "__main__":
    main()
