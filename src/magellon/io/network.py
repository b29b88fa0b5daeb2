"""Small neural networks as ONNX files: run by onnxruntime, read and written for training.

A network that learns is a torch module; its weights keep their names in the file, so that training can go on from it alone.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.files import replacing

OPSET = 18


class Network:
    """A network ready to run, on the CPU or a GPU."""

    def __init__(self, path: Path, session: Any) -> None:
        self.path = path
        self._session = session
        self._inputs = [each.name for each in session.get_inputs()]

    @property
    def metadata(self) -> dict[str, str]:
        """What whoever trained it wrote into the file, such as a calibration."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """Run it on its inputs in order.

        Raises:
            BadInput: the arrays do not suit the network, or it cannot be run on them.
        """
        if len(arrays) != len(self._inputs):
            raise BadInput(f"{self.path}: has {len(self._inputs)} inputs ({', '.join(self._inputs)}), {len(arrays)} were given")
        try:
            results: list[NDArray[Any]] = self._session.run(None, dict(zip(self._inputs, arrays, strict=True)))
        except _ERRORS as error:
            raise BadInput(
                f"{self.path}: cannot be run on {[array.shape for array in arrays]}: {_in_one_line(error)}"
            ) from error
        return results


_STATES = onnxruntime.capi.onnxruntime_pybind11_state
_ERRORS: tuple[type[Exception], ...] = (
    _STATES.Fail,
    _STATES.InvalidArgument,
    _STATES.InvalidGraph,
    _STATES.InvalidProtobuf,
    _STATES.NoSuchFile,
    _STATES.NotImplemented,
    _STATES.RuntimeException,
    _STATES.EPFail,
)


def open_network(path: Path, threads: int = 1, device: str = "cpu") -> Network:
    """Load a network. `device` is "cpu" or "cuda[:N]"; without onnxruntime's CUDA build the CPU computes.

    Raises:
        BadInput: missing, or no ONNX network.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=_choose_providers(device))
    except _ERRORS as error:
        raise BadInput(f"{path}: no network that can be run: {_in_one_line(error)}") from error
    return Network(path, session)


def _choose_providers(device: str) -> list[Any]:
    if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return [("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2] or 0)}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of a network that `write_network` wrote, by the names they have in its torch module.

    Raises:
        BadInput: missing, or no ONNX network.
    """
    try:
        model = onnx.load(str(path))
    except (OSError, ValueError, DecodeError) as error:
        raise BadInput(f"{path}: no network that can be read: {error}") from error
    return {each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy()) for each in model.graph.initializer}


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def write_network(
    path: Path,
    module: torch.nn.Module,
    example: torch.Tensor | tuple[torch.Tensor, ...],
    free: Mapping[str, Sequence[int]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a torch module as ONNX, whole or not at all.

    Args:
        module: with parameters only (no batch normalisation), so that `read_weights` gives them back.
        example: its input, or inputs.
        free: axes of arbitrary length by input and output name; inputs first, in order, then outputs.
        metadata: kept in the file, see `Network.metadata`.

    Raises:
        Transient: the disk is full, or writing failed otherwise.
    """
    examples = example if isinstance(example, tuple) else (example,)
    names = list(free)
    exported = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that keeps names is said to be old; the new one needs onnxscript
        torch.onnx.export(
            module.train(False),
            examples,
            exported,  # type: ignore[arg-type]  # it takes one, its types only say names
            input_names=names[: len(examples)],
            output_names=names[len(examples) :],
            dynamic_axes={name: {axis: f"{name}_{axis}" for axis in axes} for name, axes in free.items() if axes},
            opset_version=OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
    model = onnx.load_from_string(exported.getvalue())
    onnx.helper.set_model_props(model, dict(metadata or {}))
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def pad_to_multiple(image: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    """`image` (..., height, width) extended at its end by reflection until both sides are multiples of `multiple`."""
    height, width = image.shape[-2:]
    pad = [(0, 0)] * (image.ndim - 2) + [(0, -height % multiple), (0, -width % multiple)]
    mode = "reflect" if all(after < side for (_, after), side in zip(pad[-2:], (height, width), strict=True)) else "edge"
    padded: NDArray[np.float32] = np.pad(image, pad, mode=mode)  # type: ignore[call-overload]
    return padded
