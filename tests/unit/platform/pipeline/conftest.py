"""Descriptions of the fake backends."""

import pytest

import fake_backends
from magellon.backends.describe import describe_backend
from magellon.contracts.description import Description
from magellon.platform.pipeline.plan import Plan, make_plan
from magellon.platform.pipeline.recipe import Recipe

CLASSES = (
    fake_backends.FakeMotion,
    fake_backends.FakeCtf,
    fake_backends.FakeFft,
    fake_backends.FakeDenoiser,
    fake_backends.FakeSquares,
    fake_backends.FakeHoles,
    fake_backends.FakeSurvey,
    fake_backends.FakePicker,
    fake_backends.FakeExtraction,
    fake_backends.FakeClassifier,
    fake_backends.FakeTraining,
    fake_backends.FakeStar,
)


@pytest.fixture(scope="session")
def catalogue() -> dict[str, Description]:
    return {description.key: description for description in map(describe_backend, CLASSES)}


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    keys = ("motion_correction", "ctf_estimation", "fft", "filter", "particle_picking", "particle_extraction", "session_star")
    steps = {key: {} if key == "filter" else {"backend": "fake"} for key in keys}
    return Recipe.model_validate({"steps": {**steps, "filter": {"params": {"max_resolution": 8}}}})


@pytest.fixture(scope="session")
def plan(recipe: Recipe, catalogue: dict[str, Description]) -> Plan:
    return make_plan(recipe, catalogue)
