from collections.abc import Iterator

import pytest
from security_site import Site, build_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One server for the tests of a module: they look, and what they change does not matter to the others."""
    site = build_site(tmp_path_factory.mktemp("site"))
    yield site
    site.book.ledger.close()
