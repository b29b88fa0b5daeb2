"""`python -m training.picker [--out FILE] [--work FOLDER]`: train the picking network on simulated fields, and calibrate it.

The network that Magellon ships is what this makes from nothing and in one go, in fourteen minutes of processor time and one
more for the calibration. F1 on the proteins and phantoms of `python -m benchmarks particle_picking`, the diameter given, 20 %
small and 20 % large, beside the network shipped before, of fields with less colour in their noise:

| network | 2xhe | 7cfn | 3jb9 | shell | rod | barrel |
|---|---|---|---|---|---|---|
| this one | .926/.948/.906 | .943/.937/.931 | .986/.985/.984 | .983/.982/.982 | .915/.835/.893 | .976/.966/.968 |
| fringes not taken out | .921/.935/.893 | .934/.931/.930 | .985/.984/.983 | .979/.977/.978 | .898/.818/.886 | .957/.922/.949 |
| nor told apart | .908/.930/.893 | .925/.925/.924 | .985/.984/.983 | .979/.977/.978 | .898/.818/.886 | .957/.922/.949 |
| before | .887/.881/.884 | .924/.921/.925 | .985/.985/.981 | .977/.972/.976 | .883/.870/.880 | .957/.940/.957 |

The first three differ in nothing but their calibration: in the second and third row also dense foreign proteins have their
say in what candidates are compared with (`magellon.algorithms.picking.likeness`), and fringes are not taken out
(`magellon.algorithms.picking.fringes`) but told from particles one by one, or not that either
(`magellon.algorithms.picking.lines`). With 50 e/Å² instead of 25 it has .973 and .980 on 16 micrographs each of 2xhe and 7cfn,
.941 and .973 as in the second row. On four other micrographs of each, all with the beam's edge, it has .872 and .881 (.698 and
.823 as in the second row, .633 and .787 as in the third), .908 on barrels (.753 in both). That fringes also have no say in how
wrong the network is about all of a micrograph was tried before they were taken out: there 2xhe had .625 and 7cfn .757.

What follows was counted by hand. It loses where the diameter of rods is said too small. In 99 micrographs of nothing but noise
(eleven colours, three diameters, three seeds) it picks 1646 times in 43 of them, 1365 times in 38 with the calibration of the
second row; in 33 of them that one 436 times in 13, the one before 3537 times in 6: all mostly where power falls with frequency
or lies in a band, and particles are said to be small. In a real one with contamination it picks 28 times, 22 of the 26 places
at which RELION picked and an eye sees something among them; the one before 45 times, 25 of them there and 20 in what looks
like empty ice. Calibrated on 600 fields instead of 200, it has an F1 of .9321 instead of .9327 on average over 16 sets of
micrographs, but picks 4423 times in 37 of those of noise. That the responses of what are no particles, or of particles, move
with the micrograph in the mixture that tells how wrong the network is about all of one, by their own mean held with 5 or 20
candidates' weight at the calibration's, was tried: over 14 sets F1 is .963 to .970, .969 without it. So was a calibration
without the fields that have no particles, as presence is asked apart: F1 is .9328 instead of .9311 over 15 sets, but in 400
other fields those of noise have 740 false picks instead of 338, others without particles 883 instead of 578.

Twice as many fields with the beam's edge were tried, with fringes up to 16 cells wide there. Where fringes are not told apart
otherwise, F1 is .938/.938/.905 on 2xhe, .935/.937/.919 on 7cfn, .964/.951/.961 on barrels, but .888/.812/.854 on rods; with
50 e/Å² .958 and .965. That is no chance of the calibration, which other 200 fields change by up to .02, and for barrels said
to be small by .06: with 600 fields 2xhe has .932 instead of .911, and rods .890/.810/.861 instead of .903/.816/.901. The mean
over the eight positions of a square, instead of four, gained .010 on 2xhe with fringes not told apart, and lost .014 with the
network of those fields.

A fifth map was tried, the logit that there are particles at all, pooled from the two coarser levels and learnt by
cross-entropy per field (with a few more fields of noise, and more denatured proteins), as a fifth sign of presence. It says
yes to all micrographs of 2xhe and 7cfn (2.5 to 6), but the network doubts their candidates one by one all the same. With
likeness measured twice, F1 on them is .861 and .928 after 13000 steps, .902 and .933 after 6800 at a constant rate (659 picks
in 3 and 405 in 9 micrographs of noise). Both find 28 particles in the real micrograph, of whose presence they are sure (.98):
the others are doubted one by one, and are no more like the rest than what is no particle.

`--calibrate` trains nothing and calibrates the network in FILE anew. No field is a real one, none shows a protein of the
Protein Data Bank. One thread; it continues from the last checkpoint in the work folder.

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
from magellon.simulation.picking_scenes import PickingScene, draw_bare, draw_scene
from training.picker_calibration import calibrate

STEPS, BATCH, USES = 7400, 4, 4
"""Steps of so many fields; each field is used about so often, turned differently."""
POOL = 48
RATE, WARM_UP, DECAY = 2e-3, 200, 0.4
"""Learning rate, steps until it is reached, and the part of all steps over which it falls to nothing."""
AVERAGING = 0.999
"""The weights that are written are a running mean of the trained ones."""
STAGES = (
    (0, {"faintest": 1.5, "empty": 0.05}),
    (400, {"faintest": 0.8, "empty": 0.1}),
    (1000, {}),
    (2000, {"sparse": 0.5, "faintest": 0.4, "faint": 0.35}),
)
"""From which field on what is drawn: what is easy to see, and many of it, first."""
BARE, BARE_FROM = 0.06, 1000
"""Part of the fields that is nothing but noise, and the first that may be."""
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
                self.fields[number] = _prepare(_draw_field(number))
        rng = np.random.default_rng([SEED, 1 << 40, step])
        chosen = first + rng.choice(POOL, BATCH, replace=False)
        batch = [turn_lesson(*self.fields[int(number)], int(rng.integers(8))) for number in chosen]
        return torch.stack([view for view, _ in batch]), stack_targets([target for _, target in batch])


def _draw_field(number: int) -> PickingScene:
    rng = np.random.default_rng([SEED, number])
    if number >= BARE_FROM and rng.random() < BARE:
        return draw_bare(rng)
    return draw_scene(rng, **next(ranges for start, ranges in reversed(STAGES) if number >= start))


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
        with torch.autocast("cpu", torch.bfloat16):  # quicker where the processor knows it
            output = net(views.contiguous(memory_format=torch.channels_last))
        loss = picker_loss(output.float(), target)
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
