"""Whole sessions on a site's PostgreSQL and NATS: the same results as on one machine, whatever is restarted meanwhile."""

from pathlib import Path

import pytest
from authority import Authority
from database import Cluster
from processing import TASKS, assert_same, once, run
from servers import Place, make_server

from magellon.platform.bus.access import find_bus
from magellon.platform.bus.configuration import find_free_port
from magellon.platform.launch.local import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("fake_backends")]


def test_the_database_is_restarted_twice(tmp_path: Path, session: Path, cluster: Cluster, database: str) -> None:
    alone = run(tmp_path / "alone", session)
    restarts = [once(at, lambda: cluster.restart(pause=1.5)) for at in (TASKS // 4, TASKS // 2)]
    site = run(tmp_path / "site", session, Site(database=database), lambda count: [act(count) for act in restarts] and None)
    assert_same(alone, site)


def test_one_of_three_nats_servers_dies(tmp_path: Path, session: Path, authority: Authority, database: str) -> None:
    (tmp_path / "nats").mkdir()
    routes = [find_free_port() for _ in range(3)]
    access = 'authorization { token: "a-long-token" }'
    servers = [make_server(Place(tmp_path / "nats"), authority, access, routes, number) for number in range(3)]
    token = tmp_path / "token"
    token.write_text("a-long-token")
    token.chmod(0o600)
    bus = find_bus(",".join(f"tls://127.0.0.1:{each.port}" for each in servers), authority.file, token)
    for server in servers:
        server.start()
    try:
        alone = run(tmp_path / "alone", session)
        site = run(tmp_path / "site", session, Site(bus=bus, database=database), once(TASKS // 3, servers[0].kill))
        assert_same(alone, site)
    finally:
        for server in servers:
            server.kill()
