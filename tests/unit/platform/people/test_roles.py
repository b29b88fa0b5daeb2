import itertools

import pytest

from magellon.platform.people.roles import Role


def test_roles_are_ordered_by_their_rights_and_not_by_the_alphabet() -> None:
    assert sorted([Role.OPERATOR, Role.ADMIN, Role.VIEWER]) == [Role.VIEWER, Role.OPERATOR, Role.ADMIN]
    for lower, higher in itertools.combinations(Role, 2):
        assert lower < higher
        assert higher > lower
        assert lower <= higher
        assert higher >= lower
        assert not lower >= higher
    assert all(role >= role and role <= role and not role > role for role in Role)


def test_a_role_is_compared_with_roles_only() -> None:
    with pytest.raises(ValueError, match="owner"):
        _ = Role.ADMIN >= "owner"
