"""How many classes there are when nobody says."""

import pytest

from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.contracts import BadInput


def test_classes_follow_the_particles_unless_they_are_given() -> None:
    params = CanClassifierParams()
    assert [params.count_classes(number) for number in (1, 50, 51, 932, 2500, 10**6)] == [1, 1, 2, 19, 50, 50]
    assert CanClassifierParams(classes=20).count_classes(100) == 20


def test_a_choice_of_classes_that_cannot_be_is_refused_before_anything_is_computed() -> None:
    CanClassifierParams(classes=20, select=(3, 20), reject=(1,)).check_choice(1000)
    CanClassifierParams(classes=20, select=(30,)).check_choice(1000, given=30)
    with pytest.raises(BadInput, match="class 3 is in both"):
        CanClassifierParams(select=(3, 5), reject=(3,)).check_choice(1000)
    with pytest.raises(BadInput, match="reject: there is no class 21; of 1000 particles there will be at most 20"):
        CanClassifierParams(classes=20, select=(3,), reject=(21,)).check_choice(1000)
    with pytest.raises(BadInput, match="select: there is no class 3; of 100 particles there will be at most 2"):
        CanClassifierParams(select=(3,)).check_choice(100)
    with pytest.raises(BadInput, match="select: there is no class 9; of 4 particles there will be at most 4"):
        CanClassifierParams(classes=20, select=(9,)).check_choice(4)
