"""Networks as ONNX files: what is written computes the same, and gives its weights back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from magellon.errors import BadInput, Transient
from magellon.io.network import open_network, pad_to_multiple, read_weights, write_network

AXES = {"image": (0, 2, 3), "score": (0, 2, 3)}


def make_module(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.GroupNorm(2, 4), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 3, padding=1)
    )


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, torch.nn.Module]:
    module = make_module()
    path = tmp_path / "net.onnx"
    write_network(path, module, torch.zeros(1, 1, 16, 16), AXES, {"calibration": "1.5"})
    return path, module


def test_a_written_network_computes_what_its_module_does(written: tuple[Path, torch.nn.Module]) -> None:
    path, module = written
    image = torch.randn(2, 1, 24, 40)
    with torch.no_grad():
        expected = module(image).numpy()
    network = open_network(path)
    np.testing.assert_allclose(network(image.numpy())[0], expected, atol=1e-5)
    assert network.metadata["calibration"] == "1.5"


def test_weights_come_back_under_their_names(written: tuple[Path, torch.nn.Module]) -> None:
    path, module = written
    weights = read_weights(path)
    fresh = make_module(seed=1)
    fresh.load_state_dict({name: weights[name] for name in fresh.state_dict()})
    image = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(fresh(image), module(image))


def test_the_same_module_gives_the_same_bytes(written: tuple[Path, torch.nn.Module], tmp_path: Path) -> None:
    path, module = written
    again = tmp_path / "again.onnx"
    write_network(again, module, torch.zeros(1, 1, 16, 16), AXES, {"calibration": "1.5"})
    assert again.read_bytes() == path.read_bytes()


def test_a_network_that_cannot_be_written_names_its_file_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Transient, match=r"nowhere/net\.onnx: cannot be written: No such file"):
        write_network(tmp_path / "nowhere" / "net.onnx", torch.nn.Identity(), torch.zeros(1, 1), {"x": (), "y": ()})
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_network_is_said_to_be_none(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"\x00\x01 no network at all")
    for read in (open_network, read_weights):
        with pytest.raises(BadInput, match=r"bad\.onnx"):
            read(bad)
        with pytest.raises(BadInput, match=r"missing\.onnx"):
            read(tmp_path / "missing.onnx")


def test_what_does_not_suit_a_network_is_refused(written: tuple[Path, torch.nn.Module]) -> None:
    network = open_network(written[0])
    with pytest.raises(BadInput, match=r"net\.onnx"):
        network(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(BadInput, match="1 inputs"):
        network()


@pytest.mark.parametrize("shape", [(17, 31), (1, 5), (2, 16, 32)])
def test_padding_keeps_the_image_where_it_was(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    padded = pad_to_multiple(image, 16)
    assert padded.shape[-2] % 16 == 0
    assert padded.shape[-1] % 16 == 0
    np.testing.assert_array_equal(padded[..., : shape[-2], : shape[-1]], image)
