"""What makes the picker's network: a training that can be stopped and continued, and a calibration that always ends."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import special
from training import picker
from training.picker_calibration import HELD, _fit_weights, _make_rising, calibrate

from magellon.algorithms.picking.decoding import EVIDENCE, SIGNS, Calibration
from magellon.algorithms.picking.network import PickerNet
from magellon.backends.cnn_picker.backend import SHIPPED
from magellon.backends.cnn_picker.files import read_picking_net


def loss(weights: np.ndarray, x: np.ndarray, y: np.ndarray, start: np.ndarray) -> float:
    """What the fit is to make least, each row being a field of its own."""
    scale = np.sqrt((x**2).mean(axis=0))
    odds = x @ weights
    return float((np.logaddexp(0, odds) - y * odds).sum() + HELD * (((weights - start) * scale) ** 2).sum() / 2)


def fit(x: np.ndarray, y: np.ndarray, start: np.ndarray) -> np.ndarray:
    return np.array(_fit_weights(list(x[:, None]), list(y[:, None]), start))


@pytest.mark.parametrize("start", [(0.0, 0.0, 0.0), (0.0, 30.0, -30.0), (50.0, -40.0, 0.0)])
def test_the_fit_ends_where_the_likelihood_is_highest(start: tuple[float, ...]) -> None:
    """Also from where full Newton steps lead ever farther away."""
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(200), rng.normal(size=(200, 2)) * (1, 5)])
    y = (rng.random(200) < special.expit(x @ (0.5, 1.0, -0.4))).astype(np.float64)
    begin = np.array(start)
    found = fit(x, y, begin)
    least = loss(found, x, y, begin)
    assert least < loss(begin, x, y, begin)
    for change in (*np.eye(3), *-np.eye(3)):
        assert loss(found + 0.05 * change, x, y, begin) > least


def test_what_can_be_told_without_an_error_makes_no_weight_endless() -> None:
    x = np.column_stack([np.ones(60), np.linspace(-3, 3, 60)])
    found = fit(x, (x[:, 1] > 0).astype(np.float64), np.zeros(2))
    assert 1 < found[1] < 20
    assert abs(found[0]) < 0.1


def test_a_field_counts_as_much_as_any_other() -> None:
    """One of a thousand candidates does not outvote three of one."""
    rows = [np.ones((1000, 1)), *(np.ones((1, 1)) for _ in range(3))]
    truth = [np.ones(1000), *(np.zeros(1) for _ in range(3))]
    assert special.expit(_fit_weights(rows, truth, np.zeros(1))[0]) == pytest.approx(0.25, abs=0.02)


def test_the_nearest_rising_sequence() -> None:
    assert _make_rising(np.array([1.0, 3.0, 2.0, 4.0, 0.0])).tolist() == [1.0, 2.25, 2.25, 2.25, 2.25]


def test_training_learns_and_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picker, "POOL", 4)
    net = picker.train(tmp_path, 2, 1)
    state, before = net.state_dict(), PickerNet().state_dict()
    assert all(bool(torch.isfinite(value).all()) for value in state.values())
    assert not torch.equal(state["head.3.weight"], before["head.3.weight"])
    again = picker.train(tmp_path, 2, 1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in state.items())


@pytest.mark.slow
def test_a_network_is_calibrated_whole() -> None:
    net, _ = read_picking_net(SHIPPED)
    found = calibrate(net, 30, 9)
    assert Calibration.from_metadata(found.to_metadata()) == found
    assert (len(found.likeness), len(found.presence), len(found.responses)) == (EVIDENCE, SIGNS, 3)
