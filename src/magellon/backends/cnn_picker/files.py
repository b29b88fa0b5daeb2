"""The picker's network as a file: ONNX with its calibration, for running and for training on."""

from pathlib import Path

import torch

from magellon.algorithms.picking.decoding import Calibration
from magellon.algorithms.picking.network import PickerNet
from magellon.algorithms.picking.teaching import load_net
from magellon.contracts import BadInput
from magellon.io.network import open_network, read_weights, write_network

KIND = {"kind": "magellon-picker", "version": "1"}


def read_picking_net(path: Path) -> tuple[PickerNet, Calibration]:
    """A network to train on, and the calibration of its scores.

    Raises:
        BadInput: missing, or not a picker's.
    """
    try:
        return load_net(read_weights(path)), Calibration.from_metadata(open_network(path).metadata)
    except BadInput as error:
        raise BadInput(error if str(path) in str(error) else f"{path}: {error}") from error


def write_picking_net(path: Path, net: PickerNet, calibration: Calibration) -> None:
    """Write a network as the picker reads it."""
    example = torch.zeros(1, 2, 64, 64)
    write_network(path, net, example, {"view": (2, 3), "maps": (2, 3)}, {**KIND, **calibration.to_metadata()})
