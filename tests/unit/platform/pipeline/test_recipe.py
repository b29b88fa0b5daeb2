"""Recipes are read from TOML and changed by settings."""

from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.platform.pipeline.recipe import Recipe, change_recipe, list_wanted, read_recipe


def test_the_default_recipe_names_each_step_by_its_category() -> None:
    recipe = read_recipe()
    assert list(recipe.steps) == [
        "motion_correction",
        "ctf_estimation",
        "fft",
        "particle_survey",
        "filter",
        "particle_picking",
        "particle_extraction",
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
