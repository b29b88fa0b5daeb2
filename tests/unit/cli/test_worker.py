"""`magellon worker` hands the right arguments on, with names that can be words on the bus."""

from pathlib import Path

from magellon.cli.up.command import plan_pilots
from magellon.cli.worker import clean_name, default_name, list_arguments
from magellon.platform.worker.__main__ import parse_arguments

NOTHING = dict.fromkeys(("nats", "nats_ca", "nats_credentials", "root", "slots", "name", "idle_exit", "max_age"))
GIVEN = {**NOTHING, "home": Path("/h"), "plugins": "", "threads": 2, "device": "cpu", "grace": 30.0}


def test_arguments_are_those_of_the_worker() -> None:
    values = {**GIVEN, "root": ["lot=/a b"], "plugins": "fft,ctf_estimation", "nats": "tls://a:1", "idle_exit": 60.0}
    parsed = parse_arguments(list_arguments(values, {"SLURM_JOB_ID": "17", "SLURM_CPUS_PER_TASK": "8"}))
    assert (parsed.name, parsed.slots, parsed.threads) == ("slurm-17", 4, 2)
    assert (parsed.home, parsed.state) == (Path("/h"), Path("/h/workers/slurm-17"))
    assert (parsed.root, parsed.backends, parsed.nats) == (["lot=/a b"], "fft,ctf_estimation", "tls://a:1")
    assert (parsed.idle_exit, parsed.max_age, parsed.grace) == (60.0, None, 30.0)


def test_the_bus_may_come_from_the_environment() -> None:
    assert parse_arguments(list_arguments(GIVEN, {"MAGELLON_NATS": "nats://b:2"})).nats == "nats://b:2"
    assert (
        parse_arguments(list_arguments({**GIVEN, "nats": "nats://a:1"}, {"MAGELLON_NATS": "nats://b:2"})).nats == "nats://a:1"
    )


def test_names_are_words() -> None:
    assert clean_name("node 1.example.org/*>") == "node-1-example-org"
    assert clean_name("...") == "worker"
    assert clean_name(default_name({})) == clean_name(default_name({}))


def test_pilots_as_people_say_them() -> None:
    given = {"slurm_pilots": 3, "slurm_minutes": 60, "slurm_root": ["a=/b"], "slurm_partition": "gpu", "launcher": "slurm"}
    plan = plan_pilots(given)
    assert (plan.most, plan.minutes, plan.roots, plan.partition) == (3, 60, ("a=/b",), "gpu")
