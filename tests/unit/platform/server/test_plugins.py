"""Disabled backends are refused, preferred ones are taken, and health says what is wrong."""

from pathlib import Path

import pytest
from small_session import STEPS, write_session
from sqlalchemy import select

from magellon.contracts.description import Description
from magellon.contracts.task import Beat
from magellon.errors import BadInput, NotThere
from magellon.platform.bus.launching import LaunchState, ProgramState
from magellon.platform.pipeline.plan import Plan
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server.book import Book
from magellon.platform.server.health import Facts, PluginStatus, describe_plugins
from magellon.platform.server.plugins import find_backends, read_log, refuse_unusable
from magellon.platform.server.policy import Policy
from magellon.platform.server.settings import Setting, count_open_tasks, enable_backend, prefer_backend, read_settings
from magellon.platform.server.submitting import Submission, change_recipe_of_job, find_session, submit_session
from magellon.platform.server.watch import Sight, Watch
from magellon.platform.store.environments import Environment
from magellon.platform.store.schema import jobs


@pytest.fixture
def two_ffts(catalogue: dict[str, Description]) -> dict[str, Description]:
    """Another backend for spectra, from a plugin."""
    other = catalogue["fft/fake"].model_copy(update={"name": "other", "distribution": "Other_Spectra 2.1"})
    return {**catalogue, "fft/other": other}


def submit(book: Book, folder: Path, catalogue: dict[str, Description], fft: str | None) -> Plan:
    """Submit a session whose recipe names this backend for the spectrum; the plan."""
    if not folder.exists():
        write_session(folder, 2)
    steps = {key: {"backend": "fake"} for key in STEPS}
    steps["fft"] = {"backend": fft} if fft else {}
    submission = Submission(folder=str(folder), recipe=Recipe.model_validate({"steps": steps}))
    with book.ledger.transaction() as connection:
        job = submit_session(book, connection, submission, find_session(submission), catalogue)
        row = connection.execute(select(jobs).where(jobs.c.id == job)).one()
        assert Recipe.model_validate(row.recipe).steps["fft"].backend == book.job(connection, job).plan.step("fft").backend
        return book.job(connection, job).plan


def change(book: Book, key: str, enabled: bool) -> None:
    with book.ledger.transaction() as connection:
        enable_backend(connection, key, enabled)


def test_a_disabled_backend_is_refused_until_it_is_enabled(
    book: Book, tmp_path: Path, two_ffts: dict[str, Description]
) -> None:
    change(book, "fft/other", enabled=False)
    with pytest.raises(BadInput, match="step fft: fft/other cannot be used: it is disabled here"):
        submit(book, tmp_path / "lot", two_ffts, "other")
    change(book, "fft/other", enabled=True)
    assert submit(book, tmp_path / "lot", two_ffts, "other").step("fft").backend == "other"


def test_a_step_without_a_backend_takes_the_preferred_one_and_its_job_keeps_it(
    book: Book, tmp_path: Path, two_ffts: dict[str, Description]
) -> None:
    with pytest.raises(BadInput, match="several backends of fft, choose one"):
        submit(book, tmp_path / "lot", two_ffts, None)
    with book.ledger.transaction() as connection:
        prefer_backend(connection, "fft/fake")
        prefer_backend(connection, "fft/other")
        assert read_settings(connection) == {"fft/fake": Setting(), "fft/other": Setting(preferred=True)}
    assert submit(book, tmp_path / "lot", two_ffts, None).step("fft").backend == "other"
    with book.ledger.transaction() as connection:
        prefer_backend(connection, "fft/fake")
        kept = Recipe.model_validate(connection.execute(select(jobs.c.recipe)).scalar_one())
        change_recipe_of_job(book, connection, 1, kept, two_ffts)
        assert book.job(connection, 1).plan.step("fft").backend == "other"
    assert submit(book, tmp_path / "second", two_ffts, None).step("fft").backend == "fake"


def test_the_only_enabled_backend_needs_no_preference(book: Book, tmp_path: Path, two_ffts: dict[str, Description]) -> None:
    with book.ledger.transaction() as connection:
        prefer_backend(connection, "fft/fake")
    change(book, "fft/fake", enabled=False)
    with book.ledger.transaction() as connection:
        assert read_settings(connection)["fft/fake"] == Setting(enabled=False, preferred=False)
    assert submit(book, tmp_path / "lot", two_ffts, None).step("fft").backend == "other"


def test_a_job_goes_on_with_what_is_disabled_later(book: Book, tmp_path: Path, two_ffts: dict[str, Description]) -> None:
    submit(book, tmp_path / "lot", two_ffts, "other")
    change(book, "fft/other", enabled=False)
    with book.ledger.transaction() as connection:
        assert count_open_tasks(connection, ["fft/other"]) == 2
        assert count_open_tasks(connection, ["fft/other", "session_star/fake"]) == 3
        assert count_open_tasks(connection, ["fft/fake"]) == count_open_tasks(connection, []) == 0
    steps = {"motion_correction": {"backend": "fake", "params": {"salt": 3}}, "fft": {"backend": "other"}}
    with book.ledger.transaction() as connection:
        change_recipe_of_job(book, connection, 1, Recipe.model_validate({"steps": steps}), two_ffts)
        assert book.job(connection, 1).plan.step("fft").backend == "other"
    change(book, "fft/fake", enabled=False)
    with book.ledger.transaction() as connection, pytest.raises(BadInput, match="fft/fake cannot be used: it is disabled"):
        change_recipe_of_job(
            book, connection, 1, Recipe.model_validate({"steps": {**steps, "fft": {"backend": "fake"}}}), two_ffts
        )


PROGRAM = ProgramState(name="other-spectra-1", plugin="other-spectra", condition="running", pid=5)


def see(worker: str, *backends: str, silent: float = 0.5, lost: bool = False) -> Sight:
    return Sight(Beat(worker=worker, incarnation="i", slots=1, backends=backends, host="here"), silent, lost)


def state_of(facts: Facts) -> tuple[bool, str]:
    [plugin] = [plugin for plugin in describe_plugins(facts) if plugin.name == "other-spectra"]
    [backend] = plugin.backends
    assert backend.healthy == (not backend.reason)
    return backend.live, backend.reason


def test_health_says_why_not(two_ffts: dict[str, Description]) -> None:
    def launch(program: ProgramState | None = None, replicas: int = 1) -> LaunchState:
        return LaunchState(programs=(program,) if program else (), replicas={"other-spectra": replicas})

    alive = (see("local", "fft/fake"), see("other-spectra-1", "fft/other"))
    assert state_of(Facts(two_ffts, sights=alive, launch=launch(PROGRAM))) == (True, "")
    assert state_of(Facts(two_ffts, sights=alive[:1])) == (False, "no worker serves it")
    assert state_of(Facts(two_ffts, watched=False)) == (False, "no server runs")
    assert state_of(Facts(two_ffts, sights=alive[:1], launch=launch(replicas=0))) == (False, "stopped")
    silent = see("other-spectra-1", "fft/other", silent=12, lost=True)
    assert state_of(Facts(two_ffts, sights=(silent,))) == (False, "worker other-spectra-1 fell silent 12 s ago")
    waiting = PROGRAM.model_copy(update={"condition": "waiting", "restarts": 3, "reason": "ended with status 1: no GPU"})
    assert state_of(Facts(two_ffts, launch=launch(waiting))) == (
        False, "worker other-spectra-1 crashed and is started again (3 restarts): ended with status 1: no GPU",
    )  # fmt: skip
    given_up = waiting.model_copy(update={"condition": "given up"})
    assert "was given up after 3 restarts: ended with status 1: no GPU" in state_of(Facts(two_ffts, launch=launch(given_up)))[1]
    off = {"fft/other": Setting(enabled=False)}
    assert state_of(Facts(two_ffts, settings=off, sights=alive)) == (True, "disabled")
    broken = {**two_ffts, "fft/other": two_ffts["fft/other"].model_copy(update={"error": "No module named 'x'"})}
    assert state_of(Facts(broken, sights=alive)) == (True, "cannot be used: No module named 'x'")


def test_a_silent_worker_is_shown_within_thirty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("magellon.platform.server.watch.time.monotonic", lambda: now[0])
    watch = Watch(Policy().lost_after)
    watch.note_beat(see("local", "fft/fake").beat)
    watch.note_beat(see("stopped", "fft/fake").beat)
    watch.note_beat(see("stopped").beat.model_copy(update={"leaving": True}))
    now[0] += 1
    [sight] = watch.list_sights()
    assert (sight.beat.worker, sight.lost) == ("local", False), "who says good-bye is not missed"
    now[0] += 28
    [sight] = watch.list_sights()
    assert (sight.lost, sight.silent_for) == (True, 29)


def test_plugins_are_the_packages_that_bring_backends(two_ffts: dict[str, Description]) -> None:
    environment = Environment(
        name="other-spectra", version="2.1", source="other-spectra==2.1", folder="plugin-1", backends=("fft/other",)
    )
    facts = Facts(two_ffts, environments=[environment])
    plugins = {plugin.name: plugin for plugin in describe_plugins(facts)}
    assert (plugins["other-spectra"].version, plugins["other-spectra"].environment) == ("2.1", "isolated")
    assert plugins["unpackaged"].environment == "main"
    assert find_backends(facts, "other-spectra") == find_backends(facts, "fft/other") == ["fft/other"]
    with pytest.raises(NotThere, match="no plugin or backend 'fft/none'"):
        find_backends(facts, "fft/none")
    with pytest.raises(BadInput, match="fft/other is disabled; enable it first"):
        refuse_unusable(two_ffts["fft/other"], {"fft/other": Setting(enabled=False)})


def test_logs_are_read_in_pieces_and_only_those_of_the_plugin(tmp_path: Path) -> None:
    plugin = PluginStatus(
        name="other-spectra", version="1", environment="main", source="", healthy=True, reason="", replicas=1, backends=(),
        workers=(), programs=(PROGRAM,),
    )  # fmt: skip
    (tmp_path / "server.log").write_text("secret\n")
    with pytest.raises(NotThere, match="has no log"):
        read_log(tmp_path, plugin, None, None)
    log = tmp_path / "other-spectra-1.log"
    log.write_text("one\ntwo\nthr")
    (tmp_path / "other-spectra-1-0.out").write_text("printed\n")
    piece = read_log(tmp_path, plugin, None, None)
    assert (piece.lines, piece.sources) == (("one", "two"), ("other-spectra-1.log", "other-spectra-1-0.out"))
    with log.open("a") as file:
        file.write("ee\n")
    assert read_log(tmp_path, plugin, None, piece.next).lines == ("three",)
    assert read_log(tmp_path, plugin, "other-spectra-1-0.out", None).lines == ("printed",)
    for source in ("server.log", "../server.log", "/etc/passwd"):
        with pytest.raises(NotThere):
            read_log(tmp_path, plugin, source, None)
    log.write_text("x" * 100_000 + "\nlast\n")
    assert read_log(tmp_path, plugin, None, None).lines == ("last",)
