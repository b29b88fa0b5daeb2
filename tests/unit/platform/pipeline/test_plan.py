"""A recipe becomes a plan: wired, complete and checked before anything runs."""

from typing import Any

import pytest

from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.pipeline.inputs import list_folders
from magellon.platform.pipeline.plan import Enough, Plan, Source, make_plan
from magellon.platform.pipeline.recipe import Recipe

Catalogue = dict[str, Description]


def make(catalogue: Catalogue, **steps: dict[str, Any]) -> Plan:
    return make_plan(Recipe.model_validate({"steps": steps}), catalogue)


def test_steps_are_wired_by_their_contracts(plan: Plan) -> None:
    extraction = plan.step("particle_extraction")
    assert extraction.sources == {
        "micrograph": Source(step="motion_correction", field="micrograph"),
        "picks": Source(step="particle_picking", field="picks"),
        "ctf": Source(step="ctf_estimation", field="ctf"),
    }
    assert plan.step("motion_correction").sources == {"movie": Source(step="session", field="movie")}
    assert [step.key for step in plan.steps if step.filtered] == ["particle_picking", "particle_extraction"]
    assert [step.key for step in plan.gathers] == ["session_star"]
    assert plan.filter is not None
    assert plan.filter.needs == {"ctf_estimation", "motion_correction"}
    assert extraction.params == {"seconds": 0.0, "salt": 0, "diameter": None, "reference": None}


def test_a_step_may_have_another_name_and_another_source(catalogue: Catalogue) -> None:
    plan = make(
        catalogue,
        motion_correction={},
        first={"category": "ctf_estimation"},
        second={"category": "ctf_estimation", "inputs": {"micrograph": "motion_correction.micrograph", "group_spectrum": ""}},
        particle_picking={},
        other={"category": "particle_picking", "inputs": {"ctf": "first.ctf"}},
    )
    assert plan.step("second").sources == {"micrograph": Source(step="motion_correction", field="micrograph")}
    assert plan.step("particle_picking").sources["ctf"] == Source(step="second", field="ctf")
    assert plan.step("other").sources["ctf"] == Source(step="first", field="ctf")


def test_picking_may_use_denoised_micrographs(catalogue: Catalogue) -> None:
    wired = {"inputs": {"micrograph": "micrograph_denoising.denoised"}}
    plan = make(catalogue, motion_correction={}, micrograph_denoising={}, particle_picking=wired, particle_extraction={})
    assert plan.step("particle_picking").sources["micrograph"] == Source(step="micrograph_denoising", field="denoised")
    assert plan.step("particle_extraction").sources["micrograph"] == Source(step="motion_correction", field="micrograph")


def test_an_optional_source_may_be_missing(catalogue: Catalogue) -> None:
    plan = make(catalogue, motion_correction={}, particle_picking={})
    assert set(plan.step("particle_picking").sources) == {"micrograph"}
    assert plan.filter is None


def test_a_survey_is_wired_like_one_item_and_left_out_when_nobody_asks(catalogue: Catalogue) -> None:
    steps: dict[str, dict[str, Any]] = {"motion_correction": {}, "ctf_estimation": {}, "particle_survey": {}}
    plan = make(catalogue, **steps, particle_picking={}, session_star={})
    (survey,) = plan.surveys
    assert survey.sample == 8
    assert survey.sources["ctf"] == Source(step="ctf_estimation", field="ctf")
    assert plan.step("particle_picking").sources["diameter"] == Source(step="particle_survey", field="diameter")
    assert [step.key for step in plan.gathers] == ["session_star"]
    explicit = make(catalogue, **steps, particle_picking={"params": {"diameter": 150}})
    assert explicit.surveys == ()
    assert "diameter" not in explicit.step("particle_picking").sources
    blind = catalogue["particle_picking/fake"].model_copy(update={"ignores": ("diameter",)})
    assert make({**catalogue, blind.key: blind}, **steps, particle_picking={}).surveys == ()
    own = {**blind.defaults, "diameter": 180.0}
    fixed = blind.model_copy(update={"ignores": (), "defaults": own})
    assert make({**catalogue, fixed.key: fixed}, **steps, particle_picking={}).surveys == ()


TO_PARTICLES: dict[str, dict[str, Any]] = {"motion_correction": {}, "particle_picking": {}, "particle_extraction": {}}


def test_a_gather_names_its_inputs_and_what_is_enough(catalogue: Catalogue) -> None:
    plan = make(catalogue, **TO_PARTICLES, two_d_classification={"live_again": 2}, session_star={})
    classes = plan.step("two_d_classification")
    assert classes.sources == {
        "particles": Source(step="particle_extraction", field="particles"),
        "picks": Source(step="particle_picking", field="picks"),
    }
    assert classes.resumes == {"start": "classes"}
    assert classes.beside == {}
    assert classes.enough == Enough(field="particles", at_least=100, live_at_least=2000, live_again=2)
    assert [step.key for step in plan.gathers] == ["two_d_classification", "session_star"]
    assert plan.step("session_star").beside == {"two_d_classification": Source(step="two_d_classification", field="")}
    assert list_folders(plan, classes)["two_d_classification"] == "two_d_classification"


def test_a_gather_over_a_sample_may_be_used_by_steps_of_single_items(catalogue: Catalogue) -> None:
    first = {"sample": 12, "at_least": 50}
    plan = make(
        catalogue, **TO_PARTICLES, two_d_classification=first, picker_training={"sample": 10},
        again={"category": "particle_picking"}, boxes={"category": "particle_extraction"},
        classes={"category": "two_d_classification"},
    )  # fmt: skip
    assert [step.key for step in plan.surveys] == ["two_d_classification", "picker_training"]
    training = plan.step("picker_training")
    assert training.beside == {"kept": Source(step="two_d_classification", field="particles")}
    assert training.waits == {"two_d_classification"}
    assert plan.step("again").sources["network"] == Source(step="picker_training", field="network")
    assert plan.step("classes").sources["particles"] == Source(step="boxes", field="particles")
    assert list_folders(plan, plan.step("two_d_classification"))["particle_extraction"] == "particle_extraction"


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (
            {**TO_PARTICLES, "picker_training": {}, "again": {"category": "particle_picking"}},
            "picker_training comes after it, as it gathers results; `sample` in [steps.picker_training] lets it take the first",
        ),
        (
            {**TO_PARTICLES, "two_d_classification": {}, "picker_training": {"sample": 4}},
            "two_d_classification comes after it, as it gathers results; `sample` in [steps.two_d_classification]",
        ),
        ({**TO_PARTICLES, "picker_training": {"at_least": 4}}, "picker_training.at_least: picker_training counts nothing"),
        ({"motion_correction": {"sample": 4}}, "motion_correction.sample = 4: motion_correction does not take several items"),
        ({"motion_correction": {"inputs": {"movie": "session.hole"}}}, "a session has no 'hole' (it has movie, atlas, square)"),
        (
            {**TO_PARTICLES, "picker_training": {"inputs": {"kept": "particle_picking.picture"}}},
            "is made of each item, must be made of many together",
        ),
        (
            {
                "motion_correction": {},
                "micrograph_denoising": {},
                "particle_picking": {},
                "particle_extraction": {"inputs": {"micrograph": "micrograph_denoising.denoised"}},
            },
            "particle_extraction takes nothing of micrograph_denoising, which alters what it measures",
        ),
        ({"ctf_estimation": {}}, "step ctf_estimation needs micrograph, which a motion_correction step above it would make"),
        ({"ctf_estimation": {}, "motion_correction": {}}, "needs micrograph"),
        ({"motion_correction": {"backend": "none"}}, "no backend motion_correction/none is installed (there is fake)"),
        ({"sharpening": {}}, "no category 'sharpening'"),
        ({"motion_correction": {"params": {"salt": "x"}}}, "motion_correction.salt = 'x': must be a whole number"),
        ({"motion_correction": {"inputs": {"film": "session.movie"}}}, "no such input (it has movie, checked_gains)"),
        ({"motion_correction": {}, "fft": {"inputs": {"micrograph": "motion_correction.star"}}}, "is Path, must be Micrograph"),
        ({"motion_correction": {}, "fft": {"inputs": {"micrograph": "motion_correction.sum"}}}, "has no output 'sum'"),
        ({"motion_correction": {}, "fft": {"inputs": {"micrograph": "ctf.sum"}}}, "no step 'ctf' above"),
        ({"motion_correction": {}, "filter": {"params": {"max_score": 1}}}, "filter.max_score"),
        ({"motion_correction": {}, "filter": {}, "again": {"category": "filter"}}, "one filter"),
        ({"motion_correction": {"params": {"reference": "/nowhere/x"}}}, "/nowhere/x is not there"),
        ({"a/b": {"category": "motion_correction"}}, "not a name for a step"),
        ({"session_star": {}}, "no step that works on movies"),
    ],
)
def test_impossible_recipes_say_what_is_wrong(catalogue: Catalogue, steps: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        make(catalogue, **steps)
    assert words in str(caught.value)


def test_a_backend_that_cannot_be_imported_is_refused_with_the_reason(catalogue: Catalogue) -> None:
    broken = Description(category="fft", name="fake", error="ModuleNotFoundError: No module named 'x'")
    with pytest.raises(BadInput, match="No module named 'x'"):
        make({**catalogue, broken.key: broken}, motion_correction={}, fft={})


def test_an_export_is_no_step_of_a_recipe(catalogue: Catalogue) -> None:
    with pytest.raises(BadInput, match="step session_export: session_export is run when asked for"):
        make(catalogue, motion_correction={}, session_export={"backend": "relion"})


def test_steps_belong_to_what_their_inputs_go_back_to(catalogue: Catalogue) -> None:
    plan = make(catalogue, square_detection={}, hole_detection={}, motion_correction={}, filter={}, fft={}, session_star={})
    assert [step.key for step in plan.steps_of("movie")] == ["motion_correction", "fft"]
    assert [step.key for step in plan.steps_of("atlas")] == ["square_detection"]
    assert [step.key for step in plan.steps_of("square")] == ["hole_detection"]
    assert plan.steps_of("hole") == ()
    atlas = make(catalogue, motion_correction={}, filter={}, hole_detection={"inputs": {"image": "session.atlas"}})
    assert atlas.step("hole_detection").kind == "atlas"
    assert not atlas.step("hole_detection").filtered, "it is micrographs that are held back"
    with pytest.raises(BadInput, match="no step that works on movies"):
        make(catalogue, square_detection={})
