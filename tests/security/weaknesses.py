"""Asks the open database of vulnerabilities (https://osv.dev) which installed versions have known weaknesses.

    make audit

Status 1 where one is known, 0 where none is, and 0 with a line that says so where nobody could be asked.
"""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from importlib.metadata import distributions

SERVICE = "https://api.osv.dev/v1/querybatch"
_PATIENCE = 20.0


class NotAsked(Exception):
    """The service could not be asked, and why."""


def list_versions() -> list[tuple[str, str]]:
    """Name and version of all that is installed here, but Magellon."""
    found = {(each.metadata["Name"].lower(), each.version.partition("+")[0]) for each in distributions()}
    return sorted(pair for pair in found if pair[0] != "magellon")


def find_weaknesses(versions: Sequence[tuple[str, str]], service: str = SERVICE) -> dict[str, list[str]]:
    """`name version` > numbers of its known weaknesses, of those that have any.

    Raises:
        NotAsked: there is no answer, or none that can be understood.
    """
    queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in versions]
    request = urllib.request.Request(
        service, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json", "User-Agent": "magellon"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            results = json.load(answer)["results"]
        known = [[each["id"] for each in result.get("vulns") or ()] for result in results]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAsked(f"{service} gives no answer: {getattr(error, 'reason', error)}") from error
    if len(known) != len(queries):
        raise NotAsked(f"{service} answers {len(known)} of {len(queries)} questions")
    return {f"{name} {version}": ids for (name, version), ids in zip(versions, known, strict=True) if ids}


def main() -> int:
    versions = list_versions()
    try:
        weak = find_weaknesses(versions)
    except NotAsked as error:
        print(f"NOT CHECKED for known weaknesses: {error}")
        return 0
    for package, ids in weak.items():
        print(f"{package}: {', '.join(ids)}")
    print(f"{len(versions)} packages asked for, {len(weak)} with known weaknesses")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
