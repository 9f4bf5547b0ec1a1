"""Fractions as pairs of whole numbers."""

from primes import gcd


def reduce(a, b):
    """Return the fraction a/b in lowest terms."""
    divisor = gcd(a, b)
    return a // divisor, b // divisor
