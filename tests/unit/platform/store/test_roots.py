"""Paths travel as root and relative path; a machine proves that it sees the same root."""

from pathlib import Path

import pytest

from magellon.errors import BadInput, Transient
from magellon.platform.store.identity import CONTENT_LIMIT, hash_canonical, identify_file, locate_file, write_canonical
from magellon.platform.store.roots import Roots, check_root, describe_root, renew_sample


def test_paths_are_expressed_by_the_deepest_root(tmp_path: Path) -> None:
    roots = Roots({"home": tmp_path, "lot": tmp_path / "data"})
    path = tmp_path / "data/movies/a b.mrc"
    assert roots.express(path) == "lot:movies/a b.mrc"
    assert roots.resolve("lot:movies/a b.mrc") == path
    assert roots.resolve(Path("home:x")) == tmp_path / "x"
    with pytest.raises(BadInput, match="/elsewhere"):
        roots.express(Path("/elsewhere"))
    with pytest.raises(Transient, match="no data root 'other'"):
        roots.resolve("other:x")


def test_a_root_is_known_by_a_file_in_it(tmp_path: Path) -> None:
    for name in ("here", "same", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mrc").write_text("other!" if name == "other" else "movie!")
    root = describe_root("lot", tmp_path / "here", tmp_path / "here/a.mrc")
    check_root(root, tmp_path / "same")
    with pytest.raises(BadInput, match=r"wrong mount.*a\.mrc is not the file"):
        check_root(root, tmp_path / "other")
    with pytest.raises(BadInput, match="wrong mount"):
        check_root(root, tmp_path)


def test_a_sample_that_is_gone_is_replaced(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name)
    root = describe_root("lot", tmp_path, tmp_path / "a")
    (tmp_path / "a").unlink()
    assert renew_sample(root).sample == "b"
    (tmp_path / "b").unlink()
    assert renew_sample(root).sample is None


def test_canonical_json_is_one_text() -> None:
    assert write_canonical({"b": [1.0, None], "a": "Å"}) == '{"a":"Å","b":[1.0,null]}'.encode()
    assert hash_canonical({"a": 1, "b": 2}) == hash_canonical({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_canonical(float("nan"))


def test_small_files_go_by_content_and_large_ones_by_place(tmp_path: Path) -> None:
    roots = Roots({"lot": tmp_path})
    (tmp_path / "x").mkdir()
    for folder in (tmp_path, tmp_path / "x"):
        (folder / "gain.mrc").write_text("gain")
    assert identify_file(tmp_path / "gain.mrc", roots) == identify_file(tmp_path / "x/gain.mrc", roots)
    assert locate_file(tmp_path / "gain.mrc", roots) != locate_file(tmp_path / "x/gain.mrc", roots)
    with (tmp_path / "large.mrc").open("wb") as file:
        file.truncate(CONTENT_LIMIT)
    assert identify_file(tmp_path / "large.mrc", roots).startswith("lot:large.mrc?size=")
    with pytest.raises(BadInput, match="absent"):
        identify_file(tmp_path / "absent", roots)
