"""Recipes are read from TOML and changed by settings."""

from pathlib import Path

import pytest

from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.pipeline.plan import make_plan
from magellon.platform.pipeline.recipe import Recipe, StepRecipe, change_recipe, list_wanted, read_recipe


def test_the_default_recipe_names_each_step_by_its_category() -> None:
    recipe = read_recipe()
    assert list(recipe.steps) == [
        "square_detection",
        "hole_detection",
        "motion_correction",
        "ctf_estimation",
        "fft",
        "particle_survey",
        "filter",
        "particle_picking",
        "particle_extraction",
        "two_d_classification",
        "session_star",
    ]
    assert all(step.category is None for step in recipe.steps.values())
    assert "motion_correction/motioncor" in list_wanted(recipe)
    assert not any("filter" in key for key in list_wanted(recipe))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("180", 180), ("1.5", 1.5), ("true", True), ("text", "text"), ('"quoted"', "quoted"), ("[1, 2]", [1, 2]), ("none", None),
     ("/a/b.mrc", "/a/b.mrc")],
)  # fmt: skip
def test_settings_are_toml_values_or_plain_text(recipe: Recipe, setting: str, value: object) -> None:
    assert change_recipe(recipe, [f"fft.x={setting}"]).steps["fft"].params == {"x": value}


def test_a_setting_can_choose_the_backend_and_leaves_the_rest(recipe: Recipe) -> None:
    changed = change_recipe(recipe, ["particle_picking.backend=template-picker", "particle_picking.diameter=150"])
    assert changed.steps["particle_picking"].backend == "template-picker"
    assert changed.steps["particle_picking"].params == {"diameter": 150}
    assert recipe.steps["particle_picking"].params == {}


@pytest.mark.parametrize("setting", ["fft", "fft.x", "x=3", "nothing.x=3"])
def test_wrong_settings_are_refused(recipe: Recipe, setting: str) -> None:
    with pytest.raises(BadInput, match=setting.split("=", maxsplit=1)[0]):
        change_recipe(recipe, [setting])


@pytest.mark.parametrize("text", ["steps = 3", "[steps", "[steps.fft]\nspeed = 3", "", "[other]\n[steps]"])
def test_what_is_no_recipe_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"mine\.toml"):
        read_recipe(path)
    with pytest.raises(BadInput, match="absent"):
        read_recipe(tmp_path / "absent.toml")


def test_what_is_said_of_a_step_as_a_whole_can_be_set(recipe: Recipe) -> None:
    steps = {**recipe.steps, "two_d_classification": StepRecipe()}
    whole = recipe.model_copy(update={"steps": steps})
    changed = change_recipe(whole, ["two_d_classification.at_least=50", "two_d_classification.sample=8"])
    assert changed.steps["two_d_classification"] == StepRecipe(at_least=50, sample=8)
    with pytest.raises(BadInput, match=r"two_d_classification\.live_again=1: Input should be greater than or equal to 1\.05"):
        change_recipe(whole, ["two_d_classification.live_again=1"])


def test_recipes_that_come_along_go_by_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_recipe(Path("feedback")).name == "feedback"
    (tmp_path / "feedback").write_text('name = "mine"\n[steps.fft]\n')
    assert read_recipe(Path("feedback")).name == "mine"
    with pytest.raises(BadInput, match="nothing"):
        read_recipe(Path("nothing"))


def test_the_feedback_recipe_has_no_cycle(catalogue: dict[str, Description]) -> None:
    fake = {key: step.model_copy(update={"backend": "fake"}) for key, step in read_recipe(Path("feedback")).steps.items()}
    plan = make_plan(Recipe(steps=fake), catalogue)
    assert [step.key for step in plan.surveys] == ["particle_survey", "first_classes", "picker_training"]
    assert plan.step("first_classes").sources["particles"].step == "first_extraction"
    assert plan.step("picker_training").sources["picks"].step == "first_picking"
    assert plan.step("picker_training").beside["kept"].step == "first_classes"
    assert plan.step("particle_picking").sources["network"].step == "picker_training"
    assert "network" not in plan.step("first_picking").sources
    assert plan.step("particle_extraction").sources["picks"].step == "particle_picking"
    assert plan.step("two_d_classification").sources["particles"].step == "particle_extraction"
