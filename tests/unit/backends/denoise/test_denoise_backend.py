"""The `denoise` backend with its own network: closer to the truth, the same bytes each time, clear errors."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from magellon.algorithms.denoising import Blend
from magellon.algorithms.denoising.network import count_parameters, make_network
from magellon.backends.denoise.backend import Denoise, DenoiseParams
from magellon.backends.denoise.weights import DEFAULT_NETWORK, open_denoiser, read_blend, read_denoiser, write_denoiser
from magellon.contracts import BadInput, Context, DenoisingInput, DenoisingOutput, Micrograph
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.network import write_network
from magellon.simulation.exposures import ExposurePair, draw_pair
from magellon.simulation.silhouettes import Silhouette
from magellon.testing import check_backend

PIXEL_SIZE = 2.0


def draw_discs(seed: int, exposure: float = 30.0, size: int = 288) -> ExposurePair:
    """A pair of exposures at `PIXEL_SIZE` of particles that no training has seen: flat discs, 150 Å across, 110 V Å thick."""
    y, x = torch.meshgrid(torch.arange(96) - 48.0, torch.arange(96) - 48.0, indexing="ij")
    disc = 110 * torch.sigmoid((37 - torch.hypot(y, x)) / 1.5)
    bank = [[Silhouette(disc, 150.0)]]
    return draw_pair(np.random.default_rng(seed), bank, size, PIXEL_SIZE, (exposure, exposure))


def as_input(folder: Path, image: np.ndarray, pixel_size: float = PIXEL_SIZE) -> DenoisingInput:
    write_mrc(folder / "m1.mrc", image, pixel_size)
    shape = (image.shape[-2], image.shape[-1])
    return DenoisingInput(micrograph=Micrograph(name="m1", path=folder / "m1.mrc", pixel_size=pixel_size, shape=shape))


def correlate(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_it_comes_closer_to_the_truth(tmp_path: Path) -> None:
    gains = []
    for seed in range(4):
        pair = draw_discs(seed)
        example = as_input(tmp_path, 40 + 3 * pair.first.numpy())
        output = Denoise().run(example, DenoiseParams(), Context(workdir=tmp_path))
        mean, denoised = pair.mean.numpy(), read_mrc(output.denoised.path)
        before, after = correlate(pair.first.numpy(), mean), correlate(denoised, mean)
        gains.append((after**2 / (1 - after**2)) / (before**2 / (1 - before**2)))
        assert denoised.mean() == pytest.approx(40 + 3 * float(pair.first.mean()), rel=0.02), "in the micrograph's units"
    assert min(gains) > 1.5
    assert np.median(gains) > 4


def test_what_it_takes_away_is_the_noise(tmp_path: Path) -> None:
    for seed in range(4):
        pair = draw_discs(seed)
        output = Denoise().run(as_input(tmp_path, pair.first.numpy()), DenoiseParams(), Context(workdir=tmp_path))
        taken, particles = pair.first.numpy() - read_mrc(output.denoised.path), pair.particles.numpy()
        assert correlate(taken, (pair.first - pair.mean).numpy()) > 0.95
        assert taken.var() < (pair.first - pair.mean).numpy().var()
        particles = particles - particles.mean()
        assert -0.1 < (taken * particles).sum() / (particles**2).sum() < 0.5, "particles stay"


def test_files_and_rules(tmp_path: Path) -> None:
    example = as_input(tmp_path, draw_discs(7).first.numpy()[:, :211])
    output = check_backend(Denoise, example, workdir=tmp_path / "out")
    assert isinstance(output, DenoisingOutput)
    assert output.denoised == example.micrograph.model_copy(update={"path": tmp_path / "out" / "m1_denoised.mrc"})
    assert read_mrc(output.denoised.path).shape == (288, 211)
    with Image.open(output.picture) as picture:
        assert picture.size == (2 * 211 + 8, 288)


def test_the_network_that_comes_along_is_small(tmp_path: Path) -> None:
    assert DEFAULT_NETWORK.stat().st_size < 5e6
    network = read_denoiser(DEFAULT_NETWORK)
    assert count_parameters(network) < 300_000
    write_denoiser(tmp_path / "same.onnx", network, read_blend(open_denoiser(DEFAULT_NETWORK)))
    image = np.random.default_rng(1).normal(size=(1, 1, 64, 96)).astype(np.float32)
    (first,), (second,) = open_denoiser(DEFAULT_NETWORK)(image), open_denoiser(tmp_path / "same.onnx")(image)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, network(torch.from_numpy(image)).detach().numpy(), atol=1e-4)


def test_another_network_is_taken_and_a_wrong_one_refused(tmp_path: Path) -> None:
    example = as_input(tmp_path, draw_discs(3).first.numpy())
    write_denoiser(tmp_path / "other.onnx", make_network(5), Blend())
    results = []
    for network in (None, tmp_path / "other.onnx"):
        output = Denoise().run(example, DenoiseParams(network=network), Context(workdir=tmp_path))
        results.append(read_mrc(output.denoised.path))
    assert not np.array_equal(*results)
    write_network(tmp_path / "wrong.onnx", torch.nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 8, 8), {"x": (2,), "y": (2,)})
    (tmp_path / "text.onnx").write_text("no network")
    for wrong in ("wrong.onnx", "text.onnx", "nothing.onnx"):
        with pytest.raises(BadInput, match=wrong):
            Denoise().run(example, DenoiseParams(network=tmp_path / wrong), Context(workdir=tmp_path))


@pytest.mark.parametrize(
    ("image", "named"),
    [(np.ones((64, 64), np.float32), "constant"), (np.zeros((9, 9), np.float32), "32 px"), (np.zeros((3, 64, 64)), "m1")],
)
def test_what_cannot_be_denoised_names_its_file(image: np.ndarray, named: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=rf"m1\.mrc.*{named}|m1\.mrc"):
        Denoise().run(as_input(tmp_path, image.astype(np.float32)), DenoiseParams(), Context(workdir=tmp_path))
