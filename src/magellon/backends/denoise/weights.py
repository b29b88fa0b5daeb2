"""The network's file: where ours lies, and how one is written."""

from collections.abc import Mapping
from pathlib import Path

import torch

from magellon.algorithms.denoising import Blend
from magellon.algorithms.denoising.network import STRIDE, DenoisingNetwork
from magellon.errors import BadInput
from magellon.io.network import Network, open_network, read_weights, write_network

DEFAULT_NETWORK = Path(__file__).with_name("denoiser.onnx")
KIND = "magellon-denoiser-1"
"""Says in the file what it is: input and output are standardised images of 4 Å/px."""


def write_denoiser(path: Path, network: DenoisingNetwork, blend: Blend, metadata: Mapping[str, str] | None = None) -> None:
    """Write a network that takes images of any size that is a multiple of its stride, with its weights by frequency."""
    example = torch.zeros(1, 1, 8 * STRIDE, 8 * STRIDE)
    free = {"image": (0, 2, 3), "denoised": (0, 2, 3)}
    write_network(path, network, example, free, {"kind": KIND, "blend": blend.to_text(), **(metadata or {})})


def open_denoiser(path: Path, threads: int = 1, device: str = "cpu") -> Network:
    """Load a denoiser.

    Raises:
        BadInput: missing, no ONNX network, or one made for something else.
    """
    network = open_network(path, threads, device)
    kind = network.metadata.get("kind")
    if kind != KIND:
        raise BadInput(f"{path}: a network of the kind {kind or 'unknown'!r}; a denoiser says {KIND!r}")
    return network


def read_blend(network: Network) -> Blend:
    """How what a denoiser says is weighed.

    Raises:
        BadInput: the file says it in another way.
    """
    text = network.metadata.get("blend")
    try:
        return Blend.from_text(text) if text else Blend()
    except BadInput as error:
        raise BadInput(f"{network.path}: {error}") from error


def read_denoiser(path: Path) -> DenoisingNetwork:
    """A denoiser as a module, to train it further.

    Raises:
        BadInput: as `open_denoiser`, or its layers are not those of this version.
    """
    open_denoiser(path)
    network = DenoisingNetwork()
    try:
        network.load_state_dict(read_weights(path))
    except RuntimeError as error:
        raise BadInput(f"{path}: its layers are not those of this version's network: {error}") from error
    return network
