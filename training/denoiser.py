"""Train the network of `micrograph_denoising/denoise` on simulated pairs of exposures: `python -m training.denoiser`.

Noise to noise (Lehtinen et al. 2018, doi:10.48550/arXiv.1803.04189; Bepler et al. 2020, doi:10.1038/s41467-020-18952-1): from
one exposure predict another one of the same specimen. The best prediction is the mean over all such exposures, which a
simulation knows, so that is the target here: the same optimum as with the other exposure itself (`--noisy-target`), reached
with a fraction of the examples. Errors count more at frequencies at which micrographs are weak: the optimum stays where it is.

Two things that only a simulation knows are changed in both targets: part of the ice's grain is taken away (`GRAIN`), and fine
detail of the particles is added (`EMPHASIS`). Pairs of real exposures show both as they are.

With the default arguments it takes about 11 minutes of one core. It can be stopped and continued, to the same bytes.
The network that comes with Magellon is the one the default arguments give.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from magellon.algorithms.denoising.blend import Blend, Example, fit_blend
from magellon.algorithms.denoising.gate import measure_gate
from magellon.algorithms.denoising.learning import spectral_error
from magellon.algorithms.denoising.network import DenoisingNetwork, count_parameters, make_network
from magellon.algorithms.denoising.noise import measure_level
from magellon.algorithms.denoising.scale import PIXEL_SIZE, enlarge_smooth, pick_fine, plan_scale, reduce_image
from magellon.algorithms.fourier import rfft_frequencies
from magellon.backends.denoise.weights import DEFAULT_NETWORK, write_denoiser
from magellon.simulation.exposures import ExposurePair, draw_pair
from magellon.simulation.silhouettes import Silhouette, make_bank

SIZE = 192
PAIRS = 3
"""In a step; both exposures of each are inputs."""
EXPOSURE, WHOLE = (6.0, 60.0), (25.0, 60.0)
"""e/Å², of what the network learns from, and of what its weights beyond 1/8 Å are fitted to: weaker exposures hold next to
nothing there."""
CALIBRATION, BEYOND = 120, 180
"""Pairs, and pairs of `FINE` Å/px for what the network does not see."""
FINE = 2.0
DECAY = 500
"""Steps in which the rate falls at the end."""
GRAIN = 0.5
"""How much of the grain of the ice the network is asked for. It is signal in the exposure, but noise to whoever looks for
particles: with half of it the squared errors against the exposure and against the particles are smallest in sum. The weights by
frequency are fitted to all of it."""
EMPHASIS, EMPHASISED = 1.0, 40.0
"""How much more of the particles than there is the network is asked for, at detail well finer than so many Å. A mean of what
may be shows fine detail the fainter the less sure it is: at 15 to 20 Å more than half of a crystal's edge, a quarter of the
particles beside it. About its optimum the error against the exposure grows with the square of a change, while particles gain
in proportion."""
LIFT, FITTED = 0.2, 0.5
"""The weights by frequency are fitted to particles so much stronger than they are, and to so much of their emphasis: with none
the fit mends by noise what the network shows too strong, with all of it the exposure is met less well. Then particles come out
about as strong as they are from 200 to 30 Å."""
RENEWAL = 500
"""Steps after which other shapes are drawn, so that none is learnt by heart."""
VIEWS = 6
UNSEEN = ("asymmetric", "barrel")
"""Phantoms left out, so that there are some to measure with (`benchmarks/micrograph_denoising.py`)."""


def main() -> None:
    options = _parse()
    torch.set_num_threads(1)
    rng = np.random.default_rng(options.seed)
    # Channels last is nearly twice as fast on a CPU; the numbers are the same to rounding.
    network = make_network(options.seed).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-4)
    start, checkpoint = 0, options.work / "denoiser.pt"
    options.work.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        start, rng = state["step"], state["rng"]
    print(f"{count_parameters(network)} parameters, from step {start} of {options.steps}", flush=True)
    bank: list[list[Silhouette]] = []
    errors: list[float] = []
    for step in range(start, options.steps):
        if not bank or step % RENEWAL == 0:
            bank = renew_bank(options, step)
        for group in optimiser.param_groups:
            group["lr"] = options.rate * _schedule(step, options.steps)
        inputs, targets = draw_batch(rng, bank, options.noisy_target)
        loss = spectral_error(network(inputs), targets)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        errors.append(float(loss.detach()))
        if (step + 1) % 50 == 0 or step + 1 == options.steps:
            print(f"step {step + 1}: {np.mean(errors[-50:]):.4f}, {time.process_time():.0f} s", flush=True)
            state = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
            torch.save({**state, "step": step + 1, "rng": rng}, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
    network = network.to(memory_format=torch.contiguous_format)
    write_denoiser(options.out, network, calibrate(network, options.seed))


def renew_bank(options: argparse.Namespace, step: int) -> list[list[Silhouette]]:
    """Particles for the steps about this one, whether the training began here or was continued."""
    rng = np.random.default_rng([options.seed, 2, step // RENEWAL])
    return make_bank(rng, PIXEL_SIZE, options.shapes, VIEWS, UNSEEN)


def calibrate(network: DenoisingNetwork, seed: int) -> Blend:
    """Weights by frequency from pairs, of shapes too, that the training has not seen."""
    rng = np.random.default_rng([seed, 1])
    bank, examples = make_bank(rng, PIXEL_SIZE, 60, 3, UNSEEN), []
    for _ in range(CALIBRATION):
        pair = draw_pair(rng, bank, SIZE, PIXEL_SIZE, EXPOSURE)
        level = measure_level(pair.first, pair.limit)
        image = level.standardise(pair.first)
        truth = level.standardise(pair.mean + LIFT * pair.particles + FITTED * emphasise(pair.particles))
        examples.append((_predict(network, image), image, _weaken_detail(truth)))
    fine = make_bank(rng, FINE, 60, 2, UNSEEN)
    return fit_blend(examples, [_draw_beyond(network, rng, fine) for _ in range(BEYOND)])


def _draw_beyond(network: DenoisingNetwork, rng: np.random.Generator, bank: list[list[Silhouette]]) -> Example:
    """Gate, exposure and truth of a pair at half the network's pixels, the latter two where it sees nothing."""
    side = round(SIZE * PIXEL_SIZE / FINE)
    pair = draw_pair(rng, bank, side, FINE, WHOLE)
    scale = plan_scale((side, side), FINE)
    level = measure_level(pair.first, pair.limit).rescaled(scale.pixels_kept)
    gate = measure_gate(_predict(network, level.standardise(reduce_image(pair.first, scale))))
    # What the weights up to 1/8 Å are fitted to, as it is there: the emphasis is whole.
    truth = (pair.mean + (LIFT + FITTED * EMPHASIS) * pair.particles) / (1 + EMPHASIS * FITTED / 2)
    return enlarge_smooth(gate, scale), pick_fine(pair.first, scale, FINE), pick_fine(truth, scale, FINE)


def _predict(network: DenoisingNetwork, image: Tensor) -> Tensor:
    with torch.no_grad():
        predicted: Tensor = network(image[None, None])[0, 0]
    return predicted


def draw_batch(rng: np.random.Generator, bank: list[list[Silhouette]], noisy: bool) -> tuple[Tensor, Tensor]:
    """Inputs and targets (2 PAIRS, 1, SIZE, SIZE), each in units of its input's noise."""
    inputs, targets = [], []
    while len(inputs) < 2 * PAIRS:
        pair = draw_pair(rng, bank, SIZE, PIXEL_SIZE, EXPOSURE)
        for given, other in ((pair.first, pair.second), (pair.second, pair.first)):
            level = measure_level(given, pair.limit)
            inputs.append(level.standardise(given))
            targets.append(level.standardise(lessen_grain(pair, other if noisy else pair.mean) + emphasise(pair.particles)))
    return torch.stack(inputs)[:, None], torch.stack(targets)[:, None]


def lessen_grain(pair: ExposurePair, image: Tensor) -> Tensor:
    """One of a pair's images, or their mean, with `GRAIN` of the ice's grain."""
    return image - (1 - GRAIN) * pair.grain


def emphasise(particles: Tensor) -> Tensor:
    """What the targets hold beyond the particles (size, size) that are there."""
    extra: Tensor = torch.fft.irfft2(torch.fft.rfft2(particles) * (EMPHASIS * _emphasis(particles)), s=particles.shape)
    return extra


def _weaken_detail(truth: Tensor) -> Tensor:
    """Of everything in an image (size, size), half of what the weights' fit adds to particles is taken off its fine detail."""
    loss = 1 + EMPHASIS * FITTED / 2 * _emphasis(truth)
    weaker: Tensor = torch.fft.irfft2(torch.fft.rfft2(truth) / loss, s=truth.shape)
    return weaker


def _emphasis(image: Tensor) -> Tensor:
    """At each frequency of an image (size, size) of `PIXEL_SIZE`, from 0 at those well below 1 / `EMPHASISED` to 1 above."""
    k_row, k_column = rfft_frequencies((image.shape[0], image.shape[1]), PIXEL_SIZE)
    fourth = (k_row**2 + k_column**2) ** 2
    return fourth / (fourth + EMPHASISED**-4)


def _schedule(step: int, steps: int) -> float:
    """Warm up over 100 steps, stay, and fall to nothing in the last ones: before, their number does not matter."""
    return min(1.0, (step + 1) / 100, (steps - step) / DECAY)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--shapes", type=int, default=150, help="random shapes beside the phantoms")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noisy-target", action="store_true", help="predict the other exposure, as on real data")
    parser.add_argument("--work", type=Path, default=Path("training/work"), help="where the checkpoint is kept")
    parser.add_argument("--out", type=Path, default=DEFAULT_NETWORK)
    return parser.parse_args()


if __name__ == "__main__":
    main()
