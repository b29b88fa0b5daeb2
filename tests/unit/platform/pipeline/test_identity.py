"""A task's identity is what it computes, and nothing else."""

from typing import Any

from magellon.contracts import Movie
from magellon.contracts.description import Description
from magellon.platform.pipeline.identity import derive_seed, identify_item, identify_task
from magellon.platform.pipeline.inputs import SettledItem, list_gather_inputs
from magellon.platform.pipeline.plan import Plan, make_plan
from magellon.platform.pipeline.recipe import Recipe, change_recipe
from magellon.platform.store.identity import hash_canonical

MOVIE: dict[str, Any] = Movie(name="a", path="lot:a.mrc?size=3&mtime=5", pixel_size=1.0).model_dump(mode="json")  # type: ignore[arg-type]


def changed_steps(before: Plan, after: Plan, movie: dict[str, Any] = MOVIE) -> set[str]:
    first, second = identify_item(before.item_steps, MOVIE), identify_item(after.item_steps, movie)
    return {key for key in first if first[key] != second[key]}


def test_a_changed_parameter_makes_exactly_its_descendants_outdated(
    plan: Plan, recipe: Recipe, catalogue: dict[str, Description]
) -> None:
    def other(setting: str) -> Plan:
        return make_plan(change_recipe(recipe, [setting]), catalogue)

    assert changed_steps(plan, other("fft.salt=1")) == {"fft"}
    assert changed_steps(plan, other("particle_picking.salt=1")) == {"particle_picking", "particle_extraction"}
    assert changed_steps(plan, other("ctf_estimation.salt=1")) == {
        "ctf_estimation",
        "particle_picking",
        "particle_extraction",
    }
    assert changed_steps(plan, other("filter.max_resolution=15")) == set()
    assert changed_steps(plan, other("fft.salt=0")) == set(), "a default given is the same as a default left out"


def test_a_new_version_of_a_backend_outdates_its_results(plan: Plan, recipe: Recipe, catalogue: dict[str, Description]) -> None:
    newer = catalogue["fft/fake"].model_copy(update={"version": 2, "distribution": "fake 9.9"})
    assert changed_steps(plan, make_plan(recipe, {**catalogue, "fft/fake": newer})) == {"fft"}


def test_another_movie_or_another_optics_changes_everything(plan: Plan) -> None:
    every = {step.key for step in plan.item_steps}
    assert changed_steps(plan, plan, {**MOVIE, "path": "lot:a.mrc?size=4&mtime=5"}) == every
    assert changed_steps(plan, plan, {**MOVIE, "pixel_size": 1.1}) == every


def test_an_identity_is_the_hash_of_one_json_text(plan: Plan) -> None:
    step, inputs = plan.step("fft"), {"micrograph": ["0" * 64, "micrograph"], "a": {"é": 0.1}}
    whole = {
        "backend": step.backend,
        "category": step.category,
        "inputs": inputs,
        "params": step.identity_params,
        "version": step.version,
    }
    assert identify_task(step, inputs) == hash_canonical(whole)


def test_the_seed_does_not_come_from_time(plan: Plan) -> None:
    step = plan.step("fft")
    assert derive_seed(step, "a") == derive_seed(step, "a") != derive_seed(step, "b")


def test_a_gather_is_what_its_items_are_in_any_order(plan: Plan) -> None:
    items = [SettledItem(name, MOVIE, MOVIE, {"fft": "1" * 64, "ctf_estimation": name * 64}) for name in "ba"]
    step = plan.step("session_star")
    inputs = list_gather_inputs(plan, step, items)
    assert [entry[0] for entry in inputs["items"]] == ["a", "b"]
    first = identify_task(step, inputs)
    assert first == identify_task(step, list_gather_inputs(plan, step, items[::-1]))
    held = [SettledItem("a", MOVIE, MOVIE, {}, ("too blurred",)), items[0]]
    assert first != identify_task(step, list_gather_inputs(plan, step, held))
