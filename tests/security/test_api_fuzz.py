"""The whole API as its description allows and forbids it: no error of the server, nothing of others."""

import pytest
from security_site import Site

from people_cast import CAST


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "broken", "examples"),
    [*((name, False, 10) for name in (None, *CAST)), *((name, True, 8) for name in ("vera", "ada"))],
)
def test_the_api_has_no_defect_and_no_leak(site: Site, name: str | None, broken: bool, examples: int) -> None:
    from fuzzing import try_all

    seen = try_all(site, name, broken, examples)
    assert sum(seen.values()) > 200
    if name is None:
        assert not set(seen) - {200, 400, 401, 404, 422, 429, 503}  # health, and the ways to log in
    else:
        assert {404, 422} <= set(seen)
        assert seen[200] > 25 or broken
