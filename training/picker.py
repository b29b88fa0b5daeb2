"""`python -m training.picker [--out FILE] [--work FOLDER]`: train the picking network on simulated fields, and calibrate it.

The network that Magellon ships comes from an earlier run of as many steps. Made again from nothing and in one go, which takes
fifteen to twenty minutes of processor time and one more for the calibration, it is another one: F1 0.877, 0.916 and 0.984 on
the proteins of `python -m benchmarks particle_picking` (shipped 0.887, 0.924 and 0.985), and two of 25 balls in a picture of
its tests are taken for dirt. `--calibrate` trains nothing and calibrates the network in FILE anew. No field is a real one, none
shows a protein of the Protein Data Bank. One thread; it continues from the last checkpoint in the work folder.

Longer training ranks candidates better, but makes the network too sure or too unsure of a whole micrograph that is unlike its
fields; the calibration lets the micrograph itself set that right.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from magellon.algorithms.picking.learning import Target, make_target, picker_loss, stack_targets
from magellon.algorithms.picking.network import PickerNet
from magellon.algorithms.picking.teaching import turn_lesson
from magellon.algorithms.picking.view import normalise_view
from magellon.backends.cnn_picker.backend import SHIPPED
from magellon.backends.cnn_picker.files import read_picking_net, write_picking_net
from magellon.simulation.picking_scenes import PickingScene, draw_scene
from training.picker_calibration import calibrate

STEPS, BATCH, USES = 10000, 2, 4
"""Steps of so many fields; each field is used about so often, turned differently."""
POOL = 32
RATE, WARM_UP, DECAY = 2e-3, 200, 0.25
"""Learning rate, steps until it is reached, and the part of all steps over which it falls to nothing."""
AVERAGING = 0.999
"""The shipped weights are a running mean of the trained ones."""
STAGES = ((0, {"faintest": 1.5, "empty": 0.05}), (300, {"faintest": 0.8, "empty": 0.1}), (800, {}), (1400, {"sparse": 0.5}))
"""From which field on what is drawn: what is easy to see, and many of it, first."""
CALIBRATION_FIELDS = 200
SEED = 4


class Pool:
    """A window that moves over an endless row of fields; what a step is given depends on its number alone."""

    def __init__(self) -> None:
        self.fields: dict[int, tuple[torch.Tensor, Target]] = {}

    def draw(self, step: int) -> tuple[torch.Tensor, Target]:
        """A batch, each field in one of its eight positions."""
        first = step * BATCH // USES
        for number in [each for each in self.fields if each < first]:
            del self.fields[number]
        for number in range(first, first + POOL):
            if number not in self.fields:
                more = next(ranges for start, ranges in reversed(STAGES) if number >= start)
                self.fields[number] = _prepare(draw_scene(np.random.default_rng([SEED, number]), **more))
        rng = np.random.default_rng([SEED, 1 << 40, step])
        chosen = first + rng.choice(POOL, BATCH, replace=False)
        batch = [turn_lesson(*self.fields[int(number)], int(rng.integers(8))) for number in chosen]
        return torch.stack([view for view, _ in batch]), stack_targets([target for _, target in batch])


def _prepare(scene: PickingScene) -> tuple[torch.Tensor, Target]:
    view = normalise_view(torch.from_numpy(scene.image))
    centres, doubtful = torch.from_numpy(scene.centres), torch.from_numpy(scene.doubtful)
    return view, make_target((view.shape[-2], view.shape[-1]), centres, doubtful, torch.from_numpy(scene.dirt))


def train(work: Path, steps: int, pause: int) -> PickerNet:
    """Train from the last checkpoint on, and return the averaged network."""
    torch.manual_seed(SEED)
    net = PickerNet().to(memory_format=torch.channels_last)  # quicker
    mean = {name: value.clone() for name, value in net.state_dict().items()}
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-4)
    start, spent = 0, 0.0
    saved = work / "checkpoint.pt"
    if saved.is_file():
        state = torch.load(saved, weights_only=False)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        mean, start, spent = state["mean"], state["step"], state["spent"]
    pool, losses, began = Pool(), [], time.process_time()
    for step in range(start, steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min((step + 1) / WARM_UP, 1, (steps - step) / (DECAY * steps))
        views, target = pool.draw(step)
        loss = picker_loss(net(views.contiguous(memory_format=torch.channels_last)), target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        decay = min(AVERAGING, 1 - 1 / (step + 2))
        for name, value in net.state_dict().items():
            mean[name].lerp_(value, 1 - decay)
        losses.append(float(loss.detach()))
        if (step + 1) % pause == 0 or step + 1 == steps:
            total = spent + time.process_time() - began
            state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "mean": mean, "step": step + 1}
            torch.save({**state, "spent": total}, saved)
            print(f"step {step + 1}: loss {np.mean(losses[-pause:]):.4f}, {total:.0f} CPU s", flush=True)
    net.load_state_dict(mean)
    return net.to(memory_format=torch.contiguous_format).eval()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.picker", description=__doc__)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--work", type=Path, default=Path("training/checkpoints/picker"), help="for checkpoints")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--pause", type=int, default=100, help="steps between checkpoints")
    parser.add_argument("--calibration-fields", type=int, default=CALIBRATION_FIELDS)
    parser.add_argument("--calibrate", action="store_true", help="only calibrate the network of --out anew")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.calibrate:
        net, _ = read_picking_net(options.out)
    else:
        options.work.mkdir(parents=True, exist_ok=True)
        net = train(options.work, options.steps, options.pause)
    calibration = calibrate(net, options.calibration_fields, SEED)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_picking_net(options.out, net, calibration)
    print(f"{options.out}: {options.out.stat().st_size} bytes; a logit of 0 means {calibration.apply(torch.zeros(1))[0]:.2f}")


if __name__ == "__main__":
    main()
