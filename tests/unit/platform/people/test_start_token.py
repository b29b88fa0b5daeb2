from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.platform.people.start_token import read_start_token, renew_start_token


def test_each_start_has_a_token_that_only_this_user_reads(tmp_path: Path) -> None:
    first = renew_start_token(tmp_path)
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    second = renew_start_token(tmp_path)
    assert first != second
    assert read_start_token(tmp_path) == second


def test_a_token_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    renew_start_token(tmp_path)
    (tmp_path / "token").chmod(0o640)
    with pytest.raises(BadInput, match="chmod 600"):
        read_start_token(tmp_path)


def test_no_token_and_no_token_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no token of a server"):
        read_start_token(tmp_path)
    (tmp_path / "token").touch(0o600)
    with pytest.raises(BadInput, match="holds no token"):
        read_start_token(tmp_path)
