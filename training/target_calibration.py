"""Turn what the networks think into chances: `python -m training.target_calibration squares|holes`.

The whole detection runs on simulated pictures not trained on. What is written into the network's file is a logistic regression
from its heat and the lattice's word to right or wrong, and a small model of the kinds. Takes one minute of one core for the
squares and five for the holes.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from scipy.ndimage import gaussian_filter

from magellon.algorithms.targets.candidates import NetworkFacts
from magellon.algorithms.targets.fill import fill_nodes
from magellon.algorithms.targets.gather import Calibration, Targets, gather_targets
from magellon.algorithms.targets.holes import look_at_holes
from magellon.algorithms.targets.squares import look_at_squares
from magellon.backends.ptolemy.networks import TargetNetwork
from magellon.io.network import open_network
from magellon.simulation.grids import draw_atlas_scene, draw_hole_scene, match_targets, render_atlas, render_holes
from training.targets import FOLDER

SEED = 4000
PRIOR = np.array([1.0, 0.0, 1.5, -3.0])
COUNTS = {"holes": 800, "squares": 200}
"""Pictures. The kinds of holes differ more from picture to picture than within one, so that many pictures teach most."""
JUDGED = 200
"""Pictures, the first ones, that the regression is fitted to. Fitted to all 800 it lets fewer of the holes in thick ice pass
(.79 instead of .93 in `benchmarks/hole_detection.py`) and is no more precise."""
MOST = 60
"""Targets of one picture that count, so that a picture of a thousand holes has no more to say than ten others."""
UNFITTED = {"holes": {"alone": 0.0, "specks": -4.5}, "squares": {"alone": 1.8, "specks": 0.0}}
"""What `Calibration` says is not fitted: `alone` of the holes is 0, since the regression's offset is that of pictures without a
lattice; the others are set by eye, `specks` on exposures within a hole, where there is none."""
NOISE = 0.1
"""Part of the pictures in which there is nothing."""
WIDTH = 24
"""Of the hidden layer of the kinds' model."""


@dataclass(frozen=True)
class KindFit:
    """How the kinds' model is held back from learning its pictures by heart."""

    balance: float
    """Rare kinds count more: by the common ones' share over theirs to this power."""
    decay: float
    """Of its weights."""


KIND_FITS = {"holes": KindFit(0.25, 1.0), "squares": KindFit(0.5, 0.1)}
"""With 300 pictures of holes of other seeds, held back in turn, more decay and less balance were right more often than the
squares' figures, which were not compared with others."""
WEIGHT = 0.3
"""Of the prior, so that what did not occur in the pictures keeps a sensible value."""


def draw_sample(rng: np.random.Generator, what: str) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """A picture, and centres, sizes, visibility and kinds of what is in it; some are of noise alone."""
    shape = (int(rng.integers(300, 576)), int(rng.integers(300, 576)))
    if rng.random() < NOISE:
        grain = float(rng.choice([0.0, 1.0, 4.0]))
        noise = gaussian_filter(rng.normal(size=shape), grain).astype(np.float32)
        return noise, (np.zeros((0, 2)), np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64))
    if what == "holes":
        image, holes = render_holes(draw_hole_scene(rng, shape, (8, 150)))
        return image, (holes.centres, 2 * holes.radius, holes.visible, holes.kind)
    image, squares = render_atlas(draw_atlas_scene(rng, shape, (10, 200)))
    return image, (squares.centres, squares.side, squares.visible, squares.kind)


def describe(targets: Targets) -> np.ndarray:
    """(n, 4): what the regression looks at."""
    heat = np.clip(targets.found.heat, 1e-4, 1 - 1e-4)
    solid = np.full(len(heat), targets.solid)
    return np.stack([np.log(heat / (1 - heat)), np.ones_like(heat), solid & targets.placed, solid & ~targets.placed], axis=1)


def choose(rng: np.random.Generator, which: np.ndarray) -> np.ndarray:
    """Indices of those that count, `MOST` at most."""
    places = np.flatnonzero(which)
    return np.sort(rng.choice(places, MOST, replace=False)) if len(places) > MOST else places


def fit(looks: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Logistic regression with a normal prior around `PRIOR`, by Newton's steps."""
    weights = PRIOR.copy()
    for _ in range(30):
        chance = 1 / (1 + np.exp(-looks @ weights))
        slope = looks.T @ (right - chance) - WEIGHT * (weights - PRIOR)
        curve = (looks * (chance * (1 - chance))[:, None]).T @ looks + WEIGHT * np.eye(4)
        weights = weights + np.linalg.solve(curve, slope)
    return weights


def fit_kinds(seen: list[np.ndarray], sorts: list[np.ndarray], kinds: int, how: KindFit) -> dict[str, list]:
    """One hidden layer by gradient descent on all targets of all pictures at once; what `KindModel` is made of.

    Every fifth picture is held back and tells how well it does.
    """
    torch.manual_seed(0)
    looks, sort = np.concatenate(seen), np.concatenate(sorts)
    mean, scale = looks.mean(0), looks.std(0) + 1e-3
    normed = np.clip((looks - mean) / scale, -5, 5)
    x = torch.from_numpy(np.concatenate([normed, np.ones((len(normed), 1))], axis=1)).float()
    y = torch.from_numpy(sort)
    held = torch.from_numpy(np.repeat(np.arange(len(sorts)) % 5 == 0, [len(each) for each in sorts]))
    share = torch.bincount(y, minlength=kinds).float().clamp(min=1)
    weight = (share.sum() / share) ** how.balance
    hidden = (0.3 * torch.randn(x.shape[1], WIDTH)).requires_grad_()
    out = (0.3 * torch.randn(WIDTH + 1, kinds)).requires_grad_()
    optimizer = torch.optim.AdamW([hidden, out], lr=0.02, weight_decay=how.decay)

    def answer() -> torch.Tensor:
        inner = torch.tanh(x @ hidden)
        return torch.cat([inner, torch.ones(len(inner), 1)], dim=1) @ out

    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(answer()[~held], y[~held], weight=weight).backward()
        optimizer.step()
    right = (answer().argmax(1) == y)[held].float().mean()
    print(
        f"{len(y)} targets: {float(right):.3f} of the kinds are right; the commonest is {float(share.max() / share.sum()):.3f}"
    )
    parts = {"mean": mean, "scale": scale, "hidden": hidden.detach().numpy(), "out": out.detach().numpy()}
    return {key: np.round(value.astype(float), 4).tolist() for key, value in parts.items()}


def calibrate(what: str, path: Path, count: int) -> None:
    torch.set_num_threads(1)
    network = open_network(path)
    facts = json.loads(network.metadata["targets"])
    facts.pop("calibration", None)
    facts.pop("kind_model", None)
    read = NetworkFacts(facts["stride"], tuple(facts["kinds"]), (facts["sizes"][0], facts["sizes"][1]), facts["angled"])
    predict = TargetNetwork(network, read, Calibration())
    rng = np.random.default_rng(SEED)
    looks, right, reached, missed = [], [], 0, 0
    fill = fill_nodes if what == "holes" else None
    seen, sort = [], []
    for _ in range(count):
        image, (centres, size, visible, kind) = draw_sample(rng, what)
        targets = gather_targets(torch.from_numpy(image), predict, read, Calibration(alone=0.0, specks=0.0), 0.0, fill)
        found = np.stack([targets.found.x, targets.found.y], axis=1)
        match = match_targets(found, centres, size, visible, (image.shape[0], image.shape[1]))
        counted = choose(rng, match.counts)
        looks.append(describe(targets)[counted])
        right.append((match.true >= 0)[counted])
        reached, missed = reached + match.right, missed + match.missed
        real = choose(rng, (match.true >= 0) & match.counts & (targets.found.heat > 0.15))
        look = (look_at_holes if what == "holes" else look_at_squares)(torch.from_numpy(image), targets.take(real))
        seen.append(look)
        sort.append(kind[match.true[real]])
    weights = fit(np.concatenate(looks[:JUDGED]), np.concatenate(right[:JUDGED]).astype(float))
    found_share = reached / max(reached + missed, 1)
    print(f"{what}: {np.round(weights, 3)}; {found_share:.3f} of what can be seen is among the candidates")
    fitted = {key: round(float(value), 4) for key, value in zip(asdict(Calibration()), weights, strict=False)}
    facts["calibration"] = {**fitted, **UNFITTED[what]}
    facts["kind_model"] = fit_kinds(seen, sort, len(facts["kinds"]), KIND_FITS[what])
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {"targets": json.dumps(facts)})
    path.write_bytes(model.SerializeToString(deterministic=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("holes", "squares"))
    parser.add_argument("--network", type=Path, help="by default the one in the backend's folder")
    parser.add_argument("--count", type=int, help="pictures; by default what the shipped network had")
    options = parser.parse_args()
    calibrate(options.what, options.network or FOLDER / f"{options.what}.onnx", options.count or COUNTS[options.what])


if __name__ == "__main__":
    main()
