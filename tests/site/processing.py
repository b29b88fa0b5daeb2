"""Processing a session of fake movies by an engine that uses a site's services."""

import asyncio
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine import assert_no_debris, hash_results, hash_tree, promoted
from fake_session import ITEM_STEPS, RECIPE

from magellon.platform.bus.connection import connect_bus
from magellon.platform.launch.local import LocalPlan, Site, run_locally
from magellon.platform.pipeline.recipe import Recipe, change_recipe
from magellon.platform.process import _follow
from magellon.platform.server.policy import Policy
from magellon.platform.server.report import Summary
from magellon.platform.server.submitting import Submission
from magellon.platform.store.home import Home

MOVIES = {f"m{number:02d}": f"movie {number}" for number in range(8)}
TASKS = len(MOVIES) * len(ITEM_STEPS) + 2
POLICY = Policy(beat_interval=0.3, lost_after=4, transient_delay=0.2, reconcile_interval=3)


def make_submission(folder: Path, seconds: float = 0.1) -> Submission:
    slow = [f"{step}.seconds={seconds}" for step in (*ITEM_STEPS, "particle_survey")]
    recipe = change_recipe(Recipe.model_validate(tomllib.loads(RECIPE)), slow)
    return Submission(folder=str(folder), recipe=recipe)


@dataclass(frozen=True)
class Watching:
    """What a test does meanwhile."""

    disturb: Callable[[int], object] = lambda count: None
    """Called with the number of results whenever it has changed."""
    afterwards: Callable[[], object] = lambda: None
    """Called before the engine stops."""


async def process(home: Home, submission: Submission, site: Site | None, watching: Watching, local: bool = True) -> Summary:
    """`local`: this machine computes, too."""
    home.prepare()
    plan = LocalPlan(slots=2, policy=POLICY.model_dump_json(), beat=POLICY.beat_interval, local_workers=local)
    async with run_locally(home, plan, site) as running:
        client = await connect_bus(running.address, "test", patience=30)
        try:
            following = asyncio.create_task(_follow(client, submission, lambda progress: None))
            failing = asyncio.create_task(running.supervisor.wait_for_failure())
            before = 0
            while not following.done():
                await asyncio.wait({following, failing}, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
                if failing.done():
                    failing.result()
                count = len(promoted(home.root))
                if count != before:
                    before = count
                    await asyncio.to_thread(watching.disturb, count)
            failing.cancel()
            await asyncio.to_thread(watching.afterwards)
            return following.result()
        finally:
            await client.close()


def run(
    folder: Path,
    session: Path,
    site: Site | None = None,
    disturb: Callable[[int], object] = lambda count: None,
    seconds: float = 0.1,
) -> Path:
    home = Home.at(folder / "home")
    summary = asyncio.run(asyncio.wait_for(process(home, make_submission(session, seconds), site, Watching(disturb)), 300))
    assert summary.ok
    assert not summary.failures
    assert len(promoted(home.root)) == TASKS
    assert_no_debris(home.root)
    return home.root


def once(at: int, act: Callable[[], None]) -> Callable[[int], None]:
    """Acts when so many results are there, once."""
    left = [act]

    def disturb(count: int) -> None:
        if count >= at and left:
            left.pop()()

    return disturb


def assert_same(one: Path, other: Path) -> None:
    assert hash_results(one) == hash_results(other)
    assert hash_tree(one / "sessions") == hash_tree(other / "sessions")
