"""Sessions of every source: real metadata with movies put beside them; what is wrong is reported, and the rest imported."""

import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.platform.sessions.definition import Acquisition
from magellon.platform.sessions.found import FoundMovie, FoundSession, has_unsaid_gain
from magellon.platform.sessions.importing import check_folder, describe_movies, import_session
from magellon.platform.sessions.tree import HeaderCache
from magellon.platform.sessions.watch_files import SessionFolder
from session_files import make_epu, make_serialem, write_epu_image, write_movie


def kinds(found: FoundSession) -> dict[str, int]:
    return dict(Counter(place.kind for place in found.places))


def groups(found: FoundSession) -> set[str]:
    return {movie.movie.optics.group for movie in found.movies}


def by_name(found: FoundSession) -> dict[str, FoundMovie]:
    return {movie.movie.name: movie for movie in found.movies}


def test_a_real_epu_session(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    shutil.copytree(real_data / "epu" / "3.9.1", folder)
    for path in folder.rglob("*_Data_*.xml"):
        write_movie(path.with_name(f"{path.stem}_fractions.mrc"), 5760, 4092, 50)
    write_movie(folder / "gain.mrc", 11520, 8184, 1)
    found = import_session(folder)
    assert (found.source, found.reason) == ("epu", "EpuSession.dm is there")
    assert found.session.name == "Supervisor_20250108_101446_62_cm40593-1_EPU"
    assert kinds(found) == {"atlas": 1, "square": 275, "hole": 4, "exposure": 4}
    assert found.problems == []
    assert len(groups(found)) == 4  # two positions in each of two holes, shifted far
    movie = by_name(found)["FoilHole_9015883_Data_9017347_6_20250108_154915_fractions"]
    assert movie.described
    assert movie.movie.pixel_size == pytest.approx(1.05588142 / 2)  # the picture beside it is binned twice
    assert movie.movie.exposure_per_frame == pytest.approx(14.4108 / 50, abs=1e-5)
    assert movie.movie.gain is not None
    assert movie.shot is not None
    assert (movie.shot.applied_defocus, movie.shot.frames) == (27000, 50)
    place = next(place for place in found.places if place.name == movie.movie.name)
    assert (place.kind, place.parent, place.x) == ("exposure", "FoilHole_9015883", pytest.approx(-97.152028))
    hole = next(place for place in found.places if place.name == "FoilHole_9015889")
    assert hole.parent == "GridSquare_8999138"
    assert hole.image is not None
    assert hole.image.name == "FoilHole_9015889_20250108_154725.jpg"  # the newer of two


def test_a_real_epu_session_with_atlas_and_holes(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "visit"
    shutil.copytree(real_data / "epu" / "3.7.0", folder)
    data = folder / "EPU_session/Images-Disc1/GridSquare_4590776/Data"
    write_movie(data / "FoilHole_5665438_Data_4601896_4601898_20240406_102451_fractions.mrc", pixel_size=0.5)
    found = import_session(folder)
    assert kinds(found) == {"atlas": 1, "square": 222, "hole": 276, "exposure": 1}
    atlas, exposure = found.places[0], found.places[-1]
    assert (atlas.kind, len(atlas.tiles)) == ("atlas", 35)
    square = next(place for place in found.places if place.name == "GridSquare_4590776")
    assert (square.state, square.parent, square.magnification) == ("InProgress", "Atlas", 470)
    assert (exposure.parent, exposure.shot) == ("FoilHole_5665438", None)
    assert [problem for problem in found.problems if "gain" in problem]
    assert not found.movies[0].described


def test_a_real_falcon_session(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    shutil.copytree(real_data / "epu" / "3.8.1-falcon4i" / "xml", folder)
    for path in list(folder.glob("*.xml")):
        write_movie(path.with_name(f"{path.stem}_fractions.mrc"), 4096, 4096, 40)
    found = import_session(folder)
    assert [movie.movie.pixel_size for movie in found.movies] == [pytest.approx(0.41501528)] * 2
    totals = [movie.shot.exposure for movie in found.movies if movie.shot and movie.shot.exposure]
    assert sum(totals) / 2 == pytest.approx(27.54, abs=0.01)
    assert found.movies[0].movie.exposure_per_frame == pytest.approx(totals[0] / 40)
    assert len(groups(found)) == 2
    assert "'20240830_103455_EER_GainReference.gain' that the metadata name is not in the folder" in found.problems[0]


def test_a_real_serialem_session(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    shutil.copytree(real_data / "serialem" / "spa-k2", folder)
    shutil.copytree(real_data / "serialem" / "edge-cases", folder / "others")
    for path in list(folder.glob("*.mdoc")):
        write_movie(folder / path.name.replace(".tif.mdoc", ".mrc"), 7676, 7420, 40)
    write_movie(folder / "CountRef_2023-09-25_13.01.28_Grid10-_template_0000.mrc", 3838, 3710, 1)
    write_movie(folder / "others" / "LMM.mrc")
    found = import_session(folder)
    assert found.source == "serialem"
    assert [movie.movie.pixel_size for movie in found.movies] == [0.41, 0.41]  # stored in super-resolution
    assert [movie.movie.exposure_per_frame for movie in found.movies] == [0.98073] * 2
    assert all(movie.movie.gain for movie in found.movies)
    assert len(groups(found)) == 2
    assert len([problem for problem in found.problems if "defect file" in problem]) == 1
    assert any("1 images without an .mdoc of a movie are left out: LMM.mrc" in problem for problem in found.problems)


def test_a_real_leginon_session(real_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    shutil.copytree(real_data / "leginon", folder)
    name = "24dec03a_00031gr_00001sq_v01_00004hl_00002ex"
    write_movie(folder / "rawdata" / f"{name}.frames.mrc", frames=20, pixel_size=0.9)
    found = import_session(folder)
    assert (found.source, found.session.name) == ("leginon", "24DEC03A")
    assert kinds(found) == {"atlas": 1, "square": 10, "hole": 19, "exposure": 218}
    [movie] = found.movies
    assert (movie.movie.pixel_size, movie.movie.exposure_per_frame) == (
        pytest.approx(0.9),
        pytest.approx(60.261 / 20, abs=1e-4),
    )
    place = found.places[-1]
    assert (place.name, place.parent) == (movie.movie.name, "24dec03a_00031gr_00001sq_v01_00004hl")
    assert len(found.places[0].tiles) == 43


def test_damaged_metadata_are_reported_and_the_rest_is_imported(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "s", 6)
    xml = sorted(folder.rglob("*.xml"))
    xml[0].write_text("<MicroscopeImage>")
    xml[1].write_text('<!DOCTYPE a [<!ENTITY b "c">]><MicroscopeImage/>')
    (folder / "EpuSession.dm").write_text("<Other/>")
    (folder / "Metadata").mkdir()
    (folder / "Metadata" / "GridSquare_9.dm").write_bytes(b"\0\1\2")
    found = import_session(folder)
    assert len(found.movies) == 6
    assert [movie.described for movie in found.movies] == [False, False, True, True, True, True]
    assert not any(movie.problem for movie in found.movies)
    assert [movie.movie.exposure_per_frame for movie in found.movies] == [10.0] * 6
    for name in (xml[0].name, xml[1].name, "EpuSession.dm", "GridSquare_9.dm"):
        assert any(name in problem for problem in found.problems)
    assert any("2 movies have no metadata, and are taken as the others are" in problem for problem in found.problems)


def test_a_movie_of_serialem_whose_mdoc_is_damaged_is_taken_as_the_others_are(tmp_path: Path) -> None:
    folder = make_serialem(tmp_path / "s", 5)
    (folder / "g_0001.mrc.mdoc").write_bytes(b"")
    (folder / "g_0002.mrc.mdoc").write_bytes(b"\0\xff" * 100)
    write_movie(folder / "map.st")
    (folder / "map.st.mdoc").write_bytes(b"")
    found = import_session(folder)
    assert [(movie.movie.name, movie.described) for movie in found.movies] == [
        ("g_0000", True), ("g_0001", False), ("g_0002", False), ("g_0003", True), ("g_0004", True),
    ]  # fmt: skip
    assert not any(movie.problem for movie in found.movies)
    assert [movie.movie.exposure_per_frame for movie in found.movies] == [10.0] * 5
    for words in ("g_0001.mrc.mdoc: empty", "g_0002.mrc.mdoc", "2 movies have no metadata", "1 images without an .mdoc"):
        assert any(words in problem for problem in found.problems)


def test_names_that_are_no_text_are_left_out_and_the_rest_is_imported(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    write_movie(plain / "a.mrc", pixel_size=1)
    os.rename(plain / "a.mrc", os.fsencode(plain) + b"/bad\xff.mrc")
    write_movie(plain / "b.mrc", pixel_size=1)
    os.mkdir(os.fsencode(plain) + b"/d\xff")
    write_movie(plain / "c.mrc").rename(Path(os.fsdecode(os.fsencode(plain) + b"/d\xff/c.mrc")))
    found = import_session(plain)
    assert [movie.movie.name for movie in found.movies] == ["b"]
    assert sum("its name is not UTF-8" in problem for problem in found.problems) == 2
    assert "\n".join(found.problems).encode()
    assert SessionFolder(plain, "**/*.mrc").list_files().movies == ["b.mrc"]


def test_several_detectors_and_grids_never_share_a_group(tmp_path: Path) -> None:
    make_epu(tmp_path / "v" / "grid1", 4)
    make_epu(tmp_path / "v" / "grid2", 4, detector="K3", pixel=9e-11)
    for path in (tmp_path / "v" / "grid2").rglob("*.mrc"):
        path.rename(path.with_name(path.name.replace("FoilHole_1", "FoilHole_2")))
    for path in (tmp_path / "v" / "grid2").rglob("*.xml"):
        path.rename(path.with_name(path.name.replace("FoilHole_1", "FoilHole_2")))
    found = import_session(tmp_path / "v")
    members: dict[str, set[str]] = {}
    for movie in found.movies:
        members.setdefault(movie.movie.optics.group, set()).add(f"{movie.shot.detector if movie.shot else None}")
    assert sorted(map(sorted, members.values())) == [["Falcon 4i"], ["Falcon 4i"], ["K3"], ["K3"]]
    assert {movie.movie.pixel_size for movie in found.movies} == {0.8, 0.9}


def test_the_sum_beside_a_movie_is_no_movie(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "s", 2)
    for path in list(folder.rglob("*_fractions.mrc")):
        write_movie(path.with_name(path.name.replace("_fractions", "")), frames=1)
    write_movie(folder / "Images-Disc1/GridSquare_7/GridSquare_20250101_000000.mrc", frames=1)
    assert [movie.movie.name.endswith("_fractions") for movie in import_session(folder).movies] == [True, True]


def test_gain_is_found_and_checked(tmp_path: Path) -> None:
    folder = make_serialem(tmp_path / "s", 4)
    found = import_session(folder)
    assert found.problems == []
    assert {movie.movie.gain.path.name for movie in found.movies if movie.movie.gain} == {"CountRef_1.mrc"}
    assert len(groups(found)) == 2
    assert kinds(found) == {"hole": 1, "exposure": 4}
    write_movie(folder / "CountRef_1.mrc", 15, 12, 1)
    found = import_session(folder)
    assert "15 x 12 px, no whole multiple or part of the movies' 16 x 12; it is not used" in found.problems[0]
    assert not any(movie.movie.gain for movie in found.movies)
    with pytest.raises(BadInput, match="15 x 12"):
        import_session(folder, Acquisition(gain="CountRef_1.mrc"))
    write_movie(folder / "turned.mrc", 24, 32, 1)
    given = import_session(folder, Acquisition(gain="turned.mrc", gain_rotation=90))
    assert {movie.movie.gain.rotation for movie in given.movies if movie.movie.gain} == {90}


def test_what_a_person_says_wins(tmp_path: Path) -> None:
    found = import_session(make_epu(tmp_path / "s", 2), Acquisition(voltage=200, exposure_per_frame=1.5, pixel_size=1.1))
    movie = found.movies[0].movie
    assert (movie.optics.voltage, movie.exposure_per_frame, movie.pixel_size) == (200, 1.5, 1.1)
    assert found.movies[0].shot is not None
    assert found.movies[0].shot.exposure == 6


def test_metadata_may_lie_elsewhere(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "metadata", 2)
    (tmp_path / "movies").mkdir()
    for path in list(folder.rglob("*.mrc")):
        path.rename(tmp_path / "movies" / path.name)
    found = import_session(tmp_path / "movies", Acquisition(metadata="../metadata"))
    assert [movie.described for movie in found.movies] == [True, True]
    with pytest.raises(BadInput, match="is not a folder"):
        import_session(tmp_path / "movies", Acquisition(metadata="../absent"))


def test_gains_of_one_name_that_differ_are_reported(tmp_path: Path) -> None:
    folder = make_serialem(tmp_path / "s", 2)
    (folder / "later").mkdir()
    shutil.copy(folder / "CountRef_1.mrc", folder / "later/CountRef_1.mrc")
    assert import_session(folder).problems == [], "a copy is nothing to speak of"
    with open(folder / "later/CountRef_1.mrc", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    found = import_session(folder)
    assert found.problems == [
        "2 files named 'CountRef_1.mrc' differ: CountRef_1.mrc, later/CountRef_1.mrc; the first is used; say which with --gain"
    ]
    assert {movie.movie.gain.path for movie in found.movies if movie.movie.gain} == {folder / "CountRef_1.mrc"}


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "s", 4)
    cache = HeaderCache()
    first = import_session(folder, cache=cache)
    assert import_session(folder, cache=cache) == first
    write_epu_image(next(folder.rglob("*000003.xml")), AppliedDefocus=-3e-6, x=0.05)
    again = import_session(folder, cache=cache)
    assert sorted(movie.shot.applied_defocus or 0 for movie in again.movies if movie.shot) == [15000, 15000, 15000, 30000]


def test_groups_in_the_ledger_stay(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "s", 1)
    first = {movie.movie.name: movie.movie.optics.group for movie in import_session(folder).movies}
    assert set(first.values()) == {"s"}
    make_epu(folder, 6)
    later = {movie.movie.name: movie.movie.optics.group for movie in import_session(folder, known=first).movies}
    assert first.items() <= later.items()
    assert len(set(later.values())) == 2


def test_links_that_lead_out_and_loops_are_left_out(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "s", 2)
    make_epu(tmp_path / "other", 4)
    os.symlink(tmp_path / "other", folder / "out")
    os.symlink(folder, folder / "loop")
    found = import_session(folder)
    assert len(found.movies) == 2
    assert [problem for problem in found.problems if "leads out of the session's folder" in problem]


def test_session_json_describes_places(tmp_path: Path) -> None:
    write_movie(tmp_path / "a.mrc", pixel_size=1)
    (tmp_path / "grid.jpg").write_bytes(b"")
    places = [{"kind": "square", "name": "q", "x": 1.5, "image": "grid.jpg"}, {"kind": "exposure", "name": "a", "parent": "q"}]
    (tmp_path / "session.json").write_text(json.dumps({"name": "s", "movies": "*.mrc", "places": places}))
    found = import_session(tmp_path)
    assert found.source == "session.json"
    assert (found.places[0].image, found.places[1].parent) == (tmp_path / "grid.jpg", "q")


def test_folders_without_movies_are_refused(tmp_path: Path, real_data: Path) -> None:
    for check in (import_session, check_folder):
        with pytest.raises(BadInput, match=r"none of its movies|no movies are there"):
            check(real_data / "epu" / "3.9.1")
        with pytest.raises(BadInput, match="no session"):
            check(tmp_path)


@pytest.mark.slow
def test_a_thousand_movies_take_a_second_or_two(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "s", 1000)
    begun = time.process_time()
    cache = HeaderCache()
    found = import_session(folder, cache=cache)
    read = time.process_time() - begun
    assert len(found.movies) == 1000
    assert read < 5
    import_session(folder, cache=cache)
    assert time.process_time() - begun - read < 2


def test_new_movies_of_a_growing_session_are_described_alone(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "s", 4)
    write_movie(folder / "gain.mrc", frames=1)
    cache = HeaderCache()
    first = import_session(folder, cache=cache)
    known = {movie.movie.name: movie.movie.optics.group for movie in first.movies}
    make_epu(folder, 6)
    (folder / "Images-Disc1/GridSquare_7/Data").joinpath("FoilHole_102_Data_1_2_20250101_000005.xml").unlink()
    whole = import_session(folder, known=known)
    new = {movie.movie.name: movie.movie.path for movie in whole.movies if movie.movie.name not in known}
    alone = describe_movies(folder, None, new, known, cache)
    assert {movie.movie.name for movie in alone.movies} == set(new)
    described, undescribed = sorted(alone.movies, key=lambda movie: movie.movie.name)
    assert described == by_name(whole)[described.movie.name]
    assert (undescribed.described, undescribed.movie.exposure_per_frame) == (False, 10.0)
    assert described.movie.gain is not None
    assert described.movie.optics.group in known.values()
    assert {place.name for place in alone.places} == {"GridSquare_7", "FoilHole_102", *new}
    again = describe_movies(folder, None, new, known, HeaderCache())
    assert by_name(again)[described.movie.name] == described


def test_a_growing_session_may_be_empty_at_first(tmp_path: Path) -> None:
    empty = import_session(tmp_path, live=True)
    assert empty.movies == []
    assert not has_unsaid_gain(empty)
    cache = HeaderCache()
    path = write_movie(tmp_path / "a.mrc")
    found = describe_movies(tmp_path, Acquisition(pixel_size=1.5), {"other": path}, {}, cache)
    assert [(movie.movie.name, movie.movie.pixel_size) for movie in found.movies] == [("other", 1.5)]
    (tmp_path / "EpuSession.dm").write_text("<EpuSessionXml/>")
    assert import_session(tmp_path, live=True).source == "epu"


def test_where_a_program_leaves_gains_the_first_movies_are_asked_how_they_lie(tmp_path: Path) -> None:
    (tmp_path / "EpuSession.dm").write_text("<EpuSessionXml/>")
    found = import_session(tmp_path, live=True)
    assert (found.source, found.movies) == ("epu", [])
    assert has_unsaid_gain(found)
    assert not has_unsaid_gain(import_session(tmp_path, Acquisition(gain_rotation=90), live=True))
