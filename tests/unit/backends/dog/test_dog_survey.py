"""The survey: one diameter for several micrographs, though one of them would say otherwise."""

import logging
from pathlib import Path

import numpy as np
import pytest

from magellon.algorithms.picking.diameter import propose_from_views, reduce_for_search
from magellon.backends.dog.survey import DogSurvey, SurveyParams
from magellon.contracts import BadInput, Context, Micrograph, SurveyInput, SurveyItem
from magellon.io.mrc import write_mrc
from magellon.testing import check_backend

PIXEL_SIZE, DIAMETER = 3.0, 150.0


def write_disks(folder: Path, name: str, diameter: float, rows: int = 5) -> SurveyItem:
    """A micrograph of disks of dark and void patches of 18 Å on a shaken lattice, in white noise."""
    rng = np.random.default_rng(len(name) + int(diameter))
    image = rng.normal(size=(384, 384)).astype(np.float32)
    patches = np.kron(rng.integers(0, 2, (64, 64)), np.ones((6, 6), np.float32)) * 2
    y, x = np.mgrid[:384, :384]
    for row, column in np.ndindex(rows, rows):
        cy, cx = (np.array([row, column]) + 0.5) * 384 / rows + rng.uniform(-8, 8, 2)
        inside = np.hypot(y - cy, x - cx) < diameter / PIXEL_SIZE / 2
        image[inside] -= patches[inside]
    path = folder / f"{name}.mrc"
    write_mrc(path, image, PIXEL_SIZE)
    return SurveyItem(micrograph=Micrograph(name=name, path=path, pixel_size=PIXEL_SIZE, shape=(384, 384)))


@pytest.mark.slow
def test_the_backend_keeps_to_its_contract_and_finds_the_diameter(tmp_path):
    items = tuple(write_disks(tmp_path, name, DIAMETER) for name in ("a", "bb"))
    output = check_backend(DogSurvey, SurveyInput(items=items))
    assert output.diameter == pytest.approx(DIAMETER, rel=0.2)
    assert output.confidence > 0.5


@pytest.mark.slow
def test_the_many_overrule_the_few(tmp_path, caplog):
    items = [write_disks(tmp_path, name, DIAMETER) for name in ("a", "bb", "ccc")]
    items.append(write_disks(tmp_path, "odd", 320.0, 2))
    workdir = tmp_path / "work"
    workdir.mkdir()
    with caplog.at_level(logging.INFO, "magellon.backend"):
        output = DogSurvey().run(SurveyInput(items=tuple(items)), SurveyParams(), Context(workdir=workdir))
    assert output.diameter == pytest.approx(DIAMETER, rel=0.2)
    assert "4 micrographs" in caplog.text


@pytest.mark.slow
def test_micrographs_without_particles_are_not_believed(tmp_path):
    empty = write_disks(tmp_path, "empty", DIAMETER, 0)
    rng = np.random.default_rng(0)
    write_mrc(empty.micrograph.path, rng.normal(size=(384, 384)).astype(np.float32), PIXEL_SIZE)
    workdir = tmp_path / "work"
    workdir.mkdir()
    output = DogSurvey().run(SurveyInput(items=(empty,)), SurveyParams(), Context(workdir=workdir))
    assert output.confidence < 0.5


def test_a_bad_micrograph_is_named(tmp_path):
    item = write_disks(tmp_path, "flat", DIAMETER)
    write_mrc(item.micrograph.path, np.zeros((384, 384), np.float32), PIXEL_SIZE)
    with pytest.raises(BadInput, match=r"flat\.mrc"):
        DogSurvey().run(SurveyInput(items=(item,)), SurveyParams(), Context(workdir=tmp_path))


def test_one_view_agrees_with_itself(tmp_path):
    import torch

    rng = np.random.default_rng(3)
    image = torch.from_numpy(rng.normal(size=(300, 300)).astype(np.float32))
    proposal = propose_from_views([reduce_for_search(image, PIXEL_SIZE)])
    assert 0 <= proposal.agreement <= 1
