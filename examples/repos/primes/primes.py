"""Prime numbers."""


def is_prime(n):
    """Return whether n, a whole number, is prime."""
    for divisor in range(2, int(n**0.5)):
        if n % divisor == 0:
            return False
    return True


def gcd(a, b):
    """Return the greatest common divisor of two positive numbers."""
    while b:
        a, b = b, a % b
    return a
