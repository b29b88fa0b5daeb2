"""Train the network of `micrograph_denoising/denoise` on simulated pairs of exposures: `python -m training.denoiser`.

Noise to noise (Lehtinen et al. 2018, doi:10.48550/arXiv.1803.04189; Bepler et al. 2020, doi:10.1038/s41467-020-18952-1): from
one exposure predict another one of the same specimen. The best prediction is the mean over all such exposures, which a
simulation knows, so that is the target here: the same optimum as with the other exposure itself (`--noisy-target`), reached
with a fraction of the examples. Errors count more at frequencies at which micrographs are weak: the optimum stays where it is.

With the default arguments it takes about 7 minutes of one core. Checkpoints let it be stopped and continued. The network that
comes with Magellon is the one of step 700; its first 300 steps had no `_RISE` in their errors, and the rate of a longer run.
"""

import argparse
import copy
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from magellon.algorithms.denoising.blend import Blend, fit_blend
from magellon.algorithms.denoising.learning import spectral_error
from magellon.algorithms.denoising.network import DenoisingNetwork, count_parameters, make_network
from magellon.algorithms.denoising.noise import measure_level
from magellon.algorithms.denoising.scale import PIXEL_SIZE
from magellon.algorithms.denoising.tuning import follow_network
from magellon.backends.denoise.weights import DEFAULT_NETWORK, write_denoiser
from magellon.simulation.exposures import draw_pair
from magellon.simulation.silhouettes import Silhouette, make_bank

SIZE = 192
PAIRS = 3
"""In a step; both exposures of each are inputs."""
EXPOSURE = (6.0, 60.0)
AVERAGING = 0.99
CALIBRATION = 120
"""Pairs."""


def main() -> None:
    options = _parse()
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    network = make_network(options.seed)
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-4)
    start, checkpoint = 0, options.work / "denoiser.pt"
    options.work.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        start, rng = state["step"], state["rng"]
    print(f"{count_parameters(network)} parameters, from step {start} of {options.steps}", flush=True)
    bank, errors = make_bank(np.random.default_rng(options.seed), PIXEL_SIZE, options.shapes, 6), []
    for step in range(start, options.steps):
        for group in optimiser.param_groups:
            group["lr"] = options.rate * _schedule(step, options.steps)
        inputs, targets = draw_batch(rng, bank, options.noisy_target)
        loss = spectral_error(network(inputs), targets)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        follow_network(average, network, min(AVERAGING, (step + 1) / (step + 10)))
        errors.append(float(loss.detach()))
        if (step + 1) % 50 == 0 or step + 1 == options.steps:
            print(f"step {step + 1}: {np.mean(errors[-50:]):.4f}, {time.process_time():.0f} s", flush=True)
            state = {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**state, "step": step + 1, "rng": rng}, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
    write_denoiser(options.out, average, calibrate(average, options.seed))


def calibrate(network: DenoisingNetwork, seed: int) -> Blend:
    """Weights by frequency from pairs, of shapes too, that the training has not seen."""
    rng = np.random.default_rng([seed, 1])
    bank, examples = make_bank(rng, PIXEL_SIZE, 60, 3), []
    for _ in range(CALIBRATION):
        pair = draw_pair(rng, bank, SIZE, PIXEL_SIZE, EXPOSURE)
        level = measure_level(pair.first, pair.limit)
        image, truth = level.standardise(pair.first), level.standardise(pair.mean)
        with torch.no_grad():
            examples.append((network(image[None, None])[0, 0], image, truth))
    return fit_blend(examples)


def draw_batch(rng: np.random.Generator, bank: list[list[Silhouette]], noisy: bool) -> tuple[Tensor, Tensor]:
    """Inputs and targets (2 PAIRS, 1, SIZE, SIZE), each in units of its input's noise."""
    inputs, targets = [], []
    while len(inputs) < 2 * PAIRS:
        pair = draw_pair(rng, bank, SIZE, PIXEL_SIZE, EXPOSURE)
        for given, other in ((pair.first, pair.second), (pair.second, pair.first)):
            level = measure_level(given, pair.limit)
            inputs.append(level.standardise(given))
            targets.append(level.standardise(other if noisy else pair.mean))
    return torch.stack(inputs)[:, None], torch.stack(targets)[:, None]


def _schedule(step: int, steps: int) -> float:
    """Warm up over 100 steps, then half a cosine to nothing."""
    return min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--shapes", type=int, default=150, help="random shapes beside the phantoms")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noisy-target", action="store_true", help="predict the other exposure, as on real data")
    parser.add_argument("--work", type=Path, default=Path("training/work"), help="where the checkpoint is kept")
    parser.add_argument("--out", type=Path, default=DEFAULT_NETWORK)
    return parser.parse_args()


if __name__ == "__main__":
    main()
