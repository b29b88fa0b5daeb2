import pytest

from magellon.platform.people.login_limit import Allowance, Buckets, LoginLimit
from people_cast import Clock


@pytest.fixture
def limit(clock: Clock) -> LoginLimit:
    return LoginLimit(Buckets(Allowance(3, 10.0), most=100), Buckets(Allowance(5, 2.0), most=100), clock)


def test_tries_come_back_one_by_one(limit: LoginLimit, clock: Clock) -> None:
    assert [limit.admit("vera", f"192.0.2.{i}") for i in range(3)] == [0, 0, 0]
    assert limit.admit("vera", "192.0.2.9") == pytest.approx(10)
    clock.at += 9
    assert limit.admit("vera", "192.0.2.9") == pytest.approx(1)
    clock.at += 1.01
    assert limit.admit("vera", "192.0.2.9") == 0
    assert limit.admit("vera", "192.0.2.9") > 9


def test_refused_tries_do_not_lengthen_the_wait(limit: LoginLimit) -> None:
    for _ in range(100):
        last = limit.admit("vera", "192.0.2.1")
    assert last == pytest.approx(10)


def test_success_forgives_the_name_and_not_the_address(limit: LoginLimit) -> None:
    for _ in range(5):
        assert limit.admit("vera", "192.0.2.1") == 0
        limit.forgive("vera")
    assert limit.admit("vera", "192.0.2.1") > 0
    assert limit.admit("vera", "192.0.2.2") == 0


def test_one_ipv6_network_is_one_address(limit: LoginLimit) -> None:
    assert [limit.admit(f"u{i}", f"2001:db8::{i:x}") for i in range(5)] == [0] * 5
    assert limit.admit("u6", "2001:db8::ffff:1") > 0
    assert limit.admit("u6", "2001:db8:0:1::1") == 0


def test_memory_is_bounded(limit: LoginLimit) -> None:
    for number in range(1000):
        limit.admit(f"user{number}", f"10.0.{number // 250}.{number % 250}")
    assert len(limit.by_name._spent) == len(limit.by_address._spent) == 100
