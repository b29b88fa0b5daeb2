"""Pilots are as many as there is work for, drain before their time is over, and are asked for without a shell."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from magellon.errors import BadInput
from magellon.platform.bus.configuration import BusAddress
from magellon.platform.launch.launcher import count_tasks
from magellon.platform.launch.slurm import Pilot, SlurmPlan, decide_change, make_launcher, read_elapsed
from magellon.platform.store.home import Home

PLAN = SlurmPlan(most=4, minutes=60, margin=300, cpus=8, threads=2)


def running(job: int, age: float = 60) -> Pilot:
    return Pilot(str(job), "RUNNING", age)


def waiting(job: int) -> Pilot:
    return Pilot(str(job), "PENDING", 0)


def test_as_many_pilots_as_the_tasks_fill() -> None:
    assert PLAN.tasks_at_a_time == 4
    assert [decide_change(tasks, [], PLAN).start for tasks in (0, 1, 4, 5, 16, 17, 1000)] == [0, 1, 1, 2, 4, 4, 4]
    assert decide_change(1000, [running(1), waiting(2)], PLAN).start == 2
    assert decide_change(0, [], PLAN.model_copy(update={"least": 2})).start == 2


def test_too_many_are_given_up_while_they_wait_and_never_while_they_run() -> None:
    change = decide_change(4, [running(1), waiting(2), waiting(3)], PLAN)
    assert (change.start, change.cancel) == (0, ("2", "3"))
    assert decide_change(8, [running(1), waiting(2), waiting(3)], PLAN).cancel == ("3",)
    assert decide_change(0, [running(1), running(2)], PLAN).cancel == ()


def test_a_pilot_that_drains_has_a_successor() -> None:
    assert PLAN.max_age == 3300
    assert decide_change(4, [running(1, 3299)], PLAN).start == 0
    assert decide_change(4, [running(1, 3300)], PLAN).start == 1


@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.sampled_from(["PENDING", "RUNNING"]), st.floats(0, 4000)), max_size=12),
    st.integers(0, 3),
)
def test_never_more_than_allowed(demand: int, found: list[tuple[str, float]], least: int) -> None:
    plan = PLAN.model_copy(update={"least": least})
    pilots = [Pilot(str(number), state, age if state == "RUNNING" else 0) for number, (state, age) in enumerate(found)]
    change = decide_change(demand, pilots, plan)
    fresh = [pilot for pilot in pilots if pilot.age < plan.max_age]
    assert not (change.start and change.cancel)
    assert change.start == 0 or len(fresh) + change.start <= plan.most
    assert {pilot.state for pilot in pilots if pilot.job in change.cancel} <= {"PENDING"}
    assert len(fresh) - len(change.cancel) >= min(len(fresh), least)


def test_times_of_slurm() -> None:
    assert [read_elapsed(text) for text in ("0:07", "3:05", "1:00:00", "2-01:00:00", "INVALID", "")] == [
        7, 185, 3600, 176400, 0, 0,
    ]  # fmt: skip


def test_demand_counts_what_the_plugins_can_do() -> None:
    demand = [
        {"backend": "ctf_estimation/ctf", "pending": 3, "running": 1},
        {"backend": "fft/fft", "pending": 10, "running": 0},
    ]
    assert [count_tasks(demand, plugins) for plugins in ("", "fft", "fft/fft,ctf_estimation", "motion_correction")] == [
        14, 10, 14, 0,
    ]  # fmt: skip


def test_what_people_give_stays_one_argument(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "a home; touch $(x)")
    home.prepare()
    bus = BusAddress("tls://a:4222,tls://b:4222", ca="/c a.pem", credentials="/secret file")
    plan = SlurmPlan(gpus=2, memory="32G", partition="gpu", roots=("lot 1=/data/$(lot)",), plugins="fft")
    arguments = make_launcher(home, plan, bus).list_arguments()
    at = arguments.index(str(home.state / "pilot.sh"))
    asked, command = arguments[:at], arguments[at + 1 :]
    assert (home.state / "pilot.sh").read_text() == '#!/bin/sh\nexec "$@"\n'
    assert (home.state / "pilot.sh").stat().st_mode & 0o777 == 0o600
    assert {"--gres=gpu:2", "--mem=32G", "--partition=gpu", "--time=240"} <= set(asked)
    assert command[1:4] == ["-m", "magellon", "worker"]
    for pair in (("--home", str(home.root)), ("--root", "lot 1=/data/$(lot)"), ("--nats-credentials", "/secret file")):
        assert command[command.index(pair[0]) + 1] == pair[1]
    assert command[command.index("--slots") + 1] == "2"
    assert command[command.index("--max-age") + 1] == "14100"


def test_plans_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="more than half"):
        SlurmPlan(minutes=5, margin=200)
    with pytest.raises(ValidationError):
        SlurmPlan(partition="gpu --wrap=x")
    home = Home.at(tmp_path)
    home.prepare()
    with pytest.raises(BadInput, match="--nats"):
        make_launcher(home, SlurmPlan(), None)
    with pytest.raises(BadInput, match="--nats-credentials"):
        make_launcher(home, SlurmPlan(), BusAddress("tls://a:1", token="secret"))
