"""Paths travel as root and relative path; a machine proves that it sees the same root."""

from pathlib import Path

import pytest

from magellon.errors import BadInput, Transient
from magellon.platform.store.identity import CONTENT_LIMIT, hash_canonical, identify_file, locate_file, write_canonical
from magellon.platform.store.roots import Roots, check_root, confine_path, describe_root, renew_sample


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


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    """A folder that is open, beside one that is not, with links of all kinds in it."""
    data, secret = tmp_path / "data", tmp_path / "secret"
    (data / "grid 1").mkdir(parents=True)
    (data / "grid 1" / "männlich.tif").touch()
    secret.mkdir()
    (secret / "key").touch()
    (tmp_path / "database").mkdir()
    (data / "inside").symlink_to("grid 1")
    (data / "outside").symlink_to(secret)
    (data / "outside-relative").symlink_to("../secret/key")
    (data / "circle").symlink_to("circle")
    (data / "chain").symlink_to("outside")
    return data


@pytest.mark.parametrize(
    "given", ["", "grid 1", "grid 1/männlich.tif", "inside/männlich.tif", "grid 1/../inside", "./grid 1//"]
)
def test_paths_inside_are_found_behind_their_links(opened: Path, given: str) -> None:
    found = confine_path(f"{opened}/{given}", [opened])
    assert found == (opened / given).resolve()


@pytest.mark.parametrize(
    "given",
    [
        "../secret/key", "../secret/missing", "../database", "grid 1/../../secret/key", "inside/../../secret/key",
        "outside", "outside/key", "outside/missing", "outside-relative", "chain/key", "circle", "circle/x", "..", "../..",
        "x" * 300 + "/../../secret/key",
    ],
)  # fmt: skip
def test_paths_that_lead_out_are_refused_and_tell_nothing(opened: Path, given: str) -> None:
    with pytest.raises(BadInput, match="in none of the folders") as caught:
        confine_path(f"{opened}/{given}", [opened])
    assert "No such file" not in str(caught.value)


@pytest.mark.parametrize(
    "given", ["", "data", "~/data", "../data", "/a\0b", "/" + "x/" * 3000, "file:///etc/passwd", "\\\\host\\share"]
)
def test_what_is_no_absolute_path_is_refused(opened: Path, given: str) -> None:
    with pytest.raises(BadInput, match="absolute path"):
        confine_path(given, [opened])


def test_missing_files_inside_are_named(opened: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        confine_path(opened / "missing", [opened])
    for odd in ("\udcff", "a\nb", "x" * 256):
        with pytest.raises(BadInput) as caught:
            confine_path(f"{opened}/{odd}", [opened])
        assert "\n" not in str(caught.value)
        str(caught.value).encode()  # can be written into a log or an answer


def test_no_folder_is_open_unless_one_is_named(opened: Path) -> None:
    with pytest.raises(BadInput, match="in none"):
        confine_path(opened, [])
    with pytest.raises(BadInput, match="in none"):
        confine_path("/etc/passwd", [opened])
    assert confine_path(opened, [Path("/nowhere"), opened.parent]) == opened
    link = opened.parent / "link"
    link.symlink_to(opened)
    assert confine_path(link / "grid 1", [link]) == opened / "grid 1"


def test_a_closed_folder_in_an_open_one_stays_closed(opened: Path) -> None:
    closed = opened / "grid 1"
    assert confine_path(opened / "inside", [opened]) == closed
    for given in ("grid 1", "inside", "inside/männlich.tif", "grid 1/none"):
        with pytest.raises(BadInput, match="in none"):
            confine_path(opened / given, [opened], [closed])
    assert confine_path(opened, [opened], [closed]) == opened
