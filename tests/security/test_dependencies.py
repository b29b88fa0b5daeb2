"""What Magellon brings along: declared with a lower bound, installed at least as new, and free to be used with Apache-2.0.

Which versions have known weaknesses only a service on the network knows: `weaknesses` asks one, where there is a network.
"""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [Requirement(each) for each in PROJECT["dependencies"]]
FORBIDDEN = re.compile(r"(?<!L)GPL|GNU (?:Affero )?General Public|SSPL|Commons Clause|proprietary", re.IGNORECASE)


def list_installed(direct: list[Requirement]) -> Iterator[Distribution]:
    """The dependencies and theirs, as installed here."""
    waiting, seen = list(direct), set[str]()
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in seen or not is_wanted(requirement):
            continue
        seen.add(name)
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        yield found
        waiting += [Requirement(each) for each in found.requires or []]


def is_wanted(requirement: Requirement) -> bool:
    """Whether it is needed here: on this system and Python, and for the extras we ask for."""
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", "crypto"))


def read_licence(found: Distribution) -> str:
    """What a distribution says of its licence, in the ways there are of saying it."""
    said = [found.metadata.get("License-Expression") or "", (found.metadata.get("License") or "")[:200]]
    return " | ".join([*said, *(each for each in found.metadata.get_all("Classifier") or [] if each.startswith("License"))])


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda each: each.name)
def test_each_has_a_lower_bound_and_is_as_new(requirement: Requirement) -> None:
    assert any(each.operator in (">=", "==", "~=") for each in requirement.specifier), f"{requirement} has no lower bound"
    assert requirement.specifier.contains(distribution(requirement.name).version, prereleases=True)
    assert requirement.url is None


def test_none_forbids_to_be_used_with_ours() -> None:
    found = {each.metadata["Name"]: read_licence(each) for each in list_installed(DIRECT)}
    found = {name: licence for name, licence in found.items() if not name.startswith("nvidia-")}  # of torch, where it has a GPU
    assert len(found) > len(DIRECT)
    assert {"fastapi", "cryptography", "starlette"} <= {name.lower() for name in found}
    assert not {name: licence for name, licence in found.items() if FORBIDDEN.search(licence)}
    assert not [name for name, licence in found.items() if not licence.strip(" |")]
