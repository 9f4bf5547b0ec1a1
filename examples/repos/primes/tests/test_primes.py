import pytest
from fractions_ import reduce
from primes import gcd, is_prime


@pytest.mark.parametrize("n", [5, 13, 97])
def test_primes(n):
    assert is_prime(n)


@pytest.mark.parametrize("n", [6, 15])
def test_composite(n):
    assert not is_prime(n)


@pytest.mark.parametrize("n", [4, 9, 25])
def test_squares(n):
    assert not is_prime(n)


@pytest.mark.parametrize("n", [1, 0])
def test_small(n):
    assert not is_prime(n)


def test_gcd():
    assert gcd(12, 18) == 6


def test_reduce():
    assert reduce(6, 8) == (3, 4)
