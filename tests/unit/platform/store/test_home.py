"""The home's folders, and where its state must not lie."""

import json
from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.platform.store.home import Home, find_filesystem, refuse_network_filesystem


def test_a_home_is_prepared_once(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    token = home.token_file.read_text()
    home.prepare()
    assert home.token_file.read_text() == token
    assert len(json.loads(token)["token"]) == 32
    assert home.state.stat().st_mode & 0o777 == 0o700


def test_a_home_whose_results_are_not_mounted_is_not_used(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    home.prepare()
    home.work.rmdir()
    with pytest.raises(BadInput, match="is it mounted"):
        home.prepare()
    assert not list(home.results.iterdir())
    home.work.mkdir()  # as the message says
    home.prepare()


def test_state_can_lie_elsewhere(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home", tmp_path / "state")
    home.prepare()
    assert not (tmp_path / "home/state").exists()
    assert home.ledger == tmp_path / "state/ledger.sqlite"


def test_a_network_filesystem_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\nserver:/export /data nfs4 rw 0 0\n/dev/sdb1 /data/local\\040disk xfs rw 0 0\n")
    assert find_filesystem(Path("/data/home"), str(mounts)) == "nfs4"
    assert find_filesystem(Path("/data/local disk/home"), str(mounts)) == "xfs"
    assert find_filesystem(Path("/database"), str(mounts)) == "ext4"
    refuse_network_filesystem(Path("/data/local disk"), str(mounts))
    with pytest.raises(BadInput, match=r"network filesystem \(nfs4\)"):
        refuse_network_filesystem(Path("/data/home/state"), str(mounts))


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(BadInput, match="home"):
        Home.at(tmp_path / "home").prepare()
