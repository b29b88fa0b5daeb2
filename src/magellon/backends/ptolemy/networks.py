"""The networks of this package, and those of the original Ptolemy when a user has them as ONNX files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.algorithms.targets.candidates import NetworkFacts
from magellon.algorithms.targets.gather import Calibration
from magellon.algorithms.targets.kinds import KindModel
from magellon.errors import BadInput
from magellon.io.network import Network, open_network

Floats = NDArray[Any]
"""float32."""
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class TargetNetwork:
    """A network that finds targets, with what its file says of it."""

    network: Network
    facts: NetworkFacts
    calibration: Calibration
    model: KindModel | None = None

    def __call__(self, planes: Floats) -> Floats:
        maps = self.network(planes)[0]
        expected = 4 + len(self.facts.kinds) + 2 * self.facts.angled
        if maps.ndim != 4 or maps.shape[1] != expected:
            raise BadInput(f"{self.network.path}: gives maps of shape {maps.shape}, not {expected} channels")
        return maps


def open_target_network(name: str, threads: int, device: str) -> TargetNetwork:
    """Open `squares` or `holes` of this package.

    Raises:
        BadInput: no such network, or one that does not say what it is for.
    """
    network = open_network(_FOLDER / f"{name}.onnx", threads, device)
    try:
        facts: dict[str, Any] = json.loads(network.metadata["targets"])
        read = NetworkFacts(facts["stride"], tuple(facts["kinds"]), (facts["sizes"][0], facts["sizes"][1]), facts["angled"])
        parts = {key: np.array(value) for key, value in facts.get("kind_model", {}).items()}
        model = KindModel(**parts) if parts else None
        return TargetNetwork(network, read, Calibration(**facts.get("calibration", {})), model)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise BadInput(f"{network.path}: no network that finds targets: {error}") from error


def score_crops(network: Network, crops: Floats) -> Floats:
    """What one of Ptolemy's classifiers thinks of crops (n, side, side): a number each, 0-1.

    Raises:
        BadInput: the network does not take (n, 1, side, side), or does not give one number for each.
    """
    if len(crops) == 0:
        return np.zeros(0, np.float32)
    scores = [_run_one(network, each[None, None]) for each in crops]
    values = np.concatenate(scores)
    if values.min() < 0 or values.max() > 1:
        values = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    scored: Floats = values.astype(np.float32)
    return scored


def _run_one(network: Network, crop: Floats) -> Floats:
    found = network(crop)
    if not found or np.size(found[0]) != 1 or not np.all(np.isfinite(found[0])):
        shapes: Sequence[tuple[int, ...]] = [np.shape(each) for each in found]
        raise BadInput(f"{network.path}: gives {shapes} for a crop of {crop.shape}; a classifier gives one number")
    one: Floats = np.asarray(found[0], dtype=np.float32).reshape(1)
    return one


def segment_picture(network: Network, image: Floats, multiple: int) -> Floats:
    """The map (height, width), 0-1, that Ptolemy's segmenter makes of a picture of that shape.

    Raises:
        BadInput: the network does not take (1, 1, height, width), or gives something else than a map of that size.
    """
    height, width = image.shape
    normed = (image - image.mean()) / max(float(image.std()), 1e-12)
    padded = np.pad(normed, ((0, -height % multiple), (0, -width % multiple)))
    found = network(padded[None, None].astype(np.float32))
    if not found or np.squeeze(found[0]).shape != padded.shape:
        shapes = [np.shape(each) for each in found]
        raise BadInput(f"{network.path}: gives {shapes} for a picture of {padded.shape}; a segmenter gives a map of that size")
    logits = np.squeeze(found[0])[:height, :width]
    mask: Floats = (1 / (1 + np.exp(-np.clip(logits, -30, 30)))).astype(np.float32)
    return mask
