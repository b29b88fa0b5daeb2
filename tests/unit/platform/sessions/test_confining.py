"""What a session's folder leads to is not processed unless it lies where the server may read."""

from pathlib import Path

from magellon.platform.sessions.confining import EVERYWHERE, OpenFolders
from magellon.platform.sessions.importing import import_session
from session_files import make_serialem, write_movie


def _problems(folder: Path, allowed: OpenFolders) -> dict[str, str | None]:
    found = allowed.confine_session(import_session(folder))
    return {movie.movie.name: movie.problem for movie in found.movies}


def test_a_link_out_is_a_problem_and_troubles_no_other(tmp_path: Path) -> None:
    folder = make_serialem(tmp_path / "data/lot", 2)
    (folder / "g_0001.mrc").unlink()
    (folder / "g_0001.mrc").symlink_to(write_movie(tmp_path / "others/theirs.mrc"))
    problems = _problems(folder, OpenFolders((tmp_path / "data",)))
    assert problems["g_0000"] is None
    assert "g_0001.mrc leads out of the folders that are open" in str(problems["g_0001"])
    assert "others" not in str(problems["g_0001"]), "where it leads is not told"
    assert set(_problems(folder, EVERYWHERE).values()) == {None}
    assert set(_problems(folder, OpenFolders((tmp_path / "data", tmp_path / "others"))).values()) == {None}


def test_a_gain_that_leads_out_is_no_gain(tmp_path: Path) -> None:
    folder = make_serialem(tmp_path / "data/lot", 2)
    gain = folder / "CountRef_1.mrc"
    gain.rename(tmp_path / "CountRef_1.mrc")
    gain.symlink_to(tmp_path / "CountRef_1.mrc")
    found = OpenFolders((tmp_path / "data",)).confine_session(import_session(folder))
    assert [movie.movie.gain for movie in found.movies] == [None, None]
    assert all("CountRef_1.mrc leads out" in str(movie.problem) for movie in found.movies)


def test_a_closed_folder_is_closed_wherever_it_lies(tmp_path: Path) -> None:
    folder = make_serialem(tmp_path / "home/lot", 2)
    (folder / "g_0001.mrc").rename(tmp_path / "home/state.mrc")
    (tmp_path / "home/state").mkdir()
    (tmp_path / "home/state.mrc").rename(tmp_path / "home/state/g.mrc")
    (folder / "g_0001.mrc").symlink_to(tmp_path / "home/state/g.mrc")
    (folder / "loop.mrc").symlink_to("loop.mrc")
    problems = _problems(folder, OpenFolders((tmp_path / "home",), (tmp_path / "home/state",)))
    assert problems["g_0000"] is None
    assert "leads out" in str(problems["g_0001"])
