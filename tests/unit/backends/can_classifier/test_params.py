"""How many classes there are when nobody says."""

from magellon.backends.can_classifier.params import CanClassifierParams


def test_classes_follow_the_particles_unless_they_are_given() -> None:
    params = CanClassifierParams()
    assert [params.count_classes(number) for number in (1, 50, 51, 932, 2500, 10**6)] == [1, 1, 2, 19, 50, 50]
    assert CanClassifierParams(classes=20).count_classes(100) == 20
