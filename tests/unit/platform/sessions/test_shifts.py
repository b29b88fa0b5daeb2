"""Optics groups by beam shift: right clusters, never across detectors, and stable while a session grows."""

import random
import time

import pytest

from magellon.platform.sessions.shifts import Shifted, find_gap, group_movies, join_near

PATTERN = [(x * 2.0 + dx, y * 2.0) for x in range(-1, 2) for y in range(-1, 2) for dx in (-0.4, 0.4)]
"""3 x 3 holes 2 µm apart, each with two exposures 0.8 µm apart."""


def scatter(count: int, spread: float, seed: int = 1) -> list[tuple[Shifted, int]]:
    generator = random.Random(seed)
    movies = []
    for number in range(count):
        cluster = number % len(PATTERN)
        x, y = PATTERN[cluster]
        shift = (generator.gauss(x, spread), generator.gauss(y, spread))
        movies.append((Shifted(f"m{number:05}", "K3", shift), cluster))
    return movies


@pytest.mark.parametrize("spread", [0.001, 0.02, 0.05])
@pytest.mark.parametrize("count", [18, 200, 2000])
def test_clusters_are_found_whatever_their_spread(spread: float, count: int) -> None:
    movies = scatter(count, spread)
    groups = group_movies([movie for movie, _ in movies])
    assert len(set(groups.values())) == len(PATTERN)
    for name in set(groups.values()):
        assert len({cluster for movie, cluster in movies if groups[movie.name] == name}) == 1


def test_two_exposures_of_one_hole_are_two_groups_and_noise_makes_none() -> None:
    assert len(set(group_movies([Shifted("a", 1, (0, 0)), Shifted("b", 1, (0.8, 0))]).values())) == 2
    assert len(set(group_movies([Shifted("a", 1, (0, 0)), Shifted("b", 1, (0.05, 0))]).values())) == 1
    assert find_gap([]) == pytest.approx(0.316, abs=0.001)


def test_detectors_and_pixel_sizes_never_share_a_group() -> None:
    movies = [Shifted("a", ("K3", 0.8), (0, 0)), Shifted("b", ("Falcon", 0.8), (0, 0)), Shifted("c", ("K3", 0.9), (0, 0))]
    assert len(set(group_movies(movies).values())) == 3


def test_labels_count_more_than_shifts() -> None:
    movies = [Shifted("a", 1, (0, 0), "1-1"), Shifted("b", 1, (0, 0), "1-2"), Shifted("c", 1, (9, 9), "1-1")]
    groups = group_movies(movies, "s_")
    assert groups == {"a": "s_1", "b": "s_2", "c": "s_1"}


def test_groups_stay_while_a_session_grows() -> None:
    movies = [movie for movie, _ in scatter(600, 0.05)]
    known: dict[str, str] = {}
    for count in (1, 2, 5, 20, 100, 600):
        known_movies = [Shifted(each.name, each.optics, each.shift, None, known.get(each.name)) for each in movies[:count]]
        groups = group_movies(known_movies)
        assert all(groups[name] == group for name, group in known.items())
        known = groups
    assert len(set(known.values())) == len(PATTERN)


def test_order_and_repetition_change_nothing() -> None:
    movies = [movie for movie, _ in scatter(300, 0.03)]
    first = group_movies(movies)
    again = group_movies(list(reversed(movies)))
    same = {
        frozenset(name for name, group in groups.items() if group == each) for groups in (first,) for each in first.values()
    }
    assert same == {frozenset(name for name, group in again.items() if group == each) for each in again.values()}
    assert group_movies(movies) == first


def test_chains_are_joined_across_cells() -> None:
    points = [(0.1 * step, 0.0) for step in range(50)]
    assert set(join_near(points, 0.15)) == {0}
    assert len(set(join_near(points, 0.05))) == 50


def test_ten_thousand_movies_take_a_second() -> None:
    movies = [movie for movie, _ in scatter(10_000, 0.1)]
    begun = time.process_time()
    group_movies(movies)
    assert time.process_time() - begun < 5


def test_movies_of_unknown_shift_do_not_join_what_is_apart() -> None:
    groups = group_movies([Shifted("a", 1, (0, 0)), Shifted("b", 1, (5, 0)), Shifted("c", 1, None)])
    assert len(set(groups.values())) == 3
