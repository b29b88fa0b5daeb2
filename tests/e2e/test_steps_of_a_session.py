"""The whole of a recipe: pictures of the grid, denoised picking, classes, and a picker taught by the session, to the end."""

import json
from pathlib import Path

import pytest
from engine import Run, assert_no_debris, count_executions, hash_results
from fake_session import make_session, use_fake_backends
from PIL import Image

from magellon.platform.pipeline.recipe import read_recipe

WHOLE = """
[steps.square_detection]
[steps.hole_detection]
[steps.motion_correction]
[steps.ctf_estimation]
[steps.micrograph_denoising]
[steps.particle_picking]
inputs = { micrograph = "micrograph_denoising.denoised" }
[steps.particle_extraction]
[steps.two_d_classification]
at_least = 10
[steps.session_star]
"""


@pytest.fixture
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")
    use_fake_backends(tmp_path / "diary")
    return tmp_path / "diary"


def write_fakes(path: Path, text: str) -> Path:
    """A recipe with the fake backend of every step."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("backend"):
            lines.append(line)
        if line.startswith("[steps.") and not line.startswith("[steps.filter"):
            lines.append('backend = "fake"')
    path.write_text("\n".join(lines))
    return path


def write_grid(session: Path) -> None:
    places = [{"kind": "atlas", "name": "Atlas", "image": "atlas.png"}, {"kind": "square", "name": "S1", "image": "s1.png"}]
    for place in places:
        Image.new("L", (40, 30)).save(session / place["image"])
    definition = json.loads((session / "session.json").read_text())
    (session / "session.json").write_text(json.dumps({**definition, "places": places}))


@pytest.mark.slow
def test_all_steps_run_in_one_recipe(tmp_path: Path, diary: Path) -> None:
    session = make_session(tmp_path / "lot", dict.fromkeys("abcd", "fine"))
    write_grid(session)
    run = Run(session, tmp_path / "home", write_fakes(tmp_path / "recipe.toml", WHOLE))
    run.start()
    summary = run.finish()
    assert summary["ok"]
    assert not summary["failures"]
    folder = run.home / "sessions/lot"
    assert json.loads((folder / "summary.json").read_text()) == {"items": 4, "kept": 8}
    assert (folder / "two_d_classification/class_averages.mrcs").read_text() == "a b c d 0 afresh"
    assert "'particle_extraction': 'particle_extraction'" in (folder / "two_d_classification/all_particles.star").read_text()
    assert (folder / "square_detection/Atlas_squares.nav").exists()
    assert (folder / "hole_detection/S1_holes.json").exists()
    assert (folder / "micrograph_denoising/a_denoised.png").exists()
    assert not (folder / "class_averages.mrcs").exists()
    assert count_executions(diary)["two_d_classification session"] == 1
    assert_no_debris(run.home)
    before = hash_results(run.home)
    run.start()
    assert run.finish()["ok"]
    assert hash_results(run.home) == before
    assert count_executions(diary)["two_d_classification session"] == 1


@pytest.mark.slow
def test_a_killed_run_with_feedback_ends_as_an_undisturbed_one(tmp_path: Path, diary: Path) -> None:
    session = make_session(tmp_path / "lot", dict.fromkeys("abcdef", "fine"))
    text = _read_feedback().replace("at_least = 500", "at_least = 5").replace("sample = 24", "sample = 3")
    recipe = write_fakes(tmp_path / "recipe.toml", text)
    settings = ("two_d_classification.at_least=5", "first_classes.seconds=0.5", "picker_training.seconds=0.5")
    (tmp_path / "one").mkdir()
    whole = Run(session, tmp_path / "one" / "home", recipe, settings)
    whole.start()
    assert whole.finish()["ok"]
    folder = whole.home / "sessions/lot"
    taught = (folder / "particle_picking/f_autopick.star").read_text()
    assert "taught by a b c kept (a b c 0 afresh)" in taught
    assert (folder / "two_d_classification/class_averages.mrcs").read_text() == "a b c d e f 0 afresh"
    assert (folder / "first_classes/class_averages.mrcs").read_text() == "a b c 0 afresh"

    (tmp_path / "other").mkdir()
    killed = Run(session, tmp_path / "other" / "home", recipe, settings)
    for step in ("first_classes", "picker_training", "particle_extraction"):
        diary.unlink(missing_ok=True)
        killed.start()
        word = {"first_classes": "two_d_classification session", "picker_training": "picker_training session"}.get(step, step)
        killed.wait_until(lambda word=word: any(word in line for line in count_executions(diary)))  # type: ignore[misc]
        killed.kill_foreground()
    killed.start()
    assert killed.finish()["ok"]
    assert hash_results(killed.home) == hash_results(whole.home)
    assert_no_debris(killed.home)


def _read_feedback() -> str:
    assert read_recipe(Path("feedback")).name == "feedback"
    import magellon.platform.pipeline as pipeline

    return (Path(str(pipeline.__file__)).parent / "recipes/feedback.toml").read_text()
