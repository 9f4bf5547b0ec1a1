"""Days of the Gregorian calendar."""

DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


def is_leap(year):
    """Return whether a year has 366 days."""
    return year % 4 == 0


def days_in(year, month):
    """Return the number of days of a month."""
    return 29 if month == 2 and is_leap(year) else DAYS[month - 1]


def day_of_year(year, month, day):
    """Return the number of a day within its year; 1 January is 1."""
    return sum(days_in(year, m) for m in range(1, month)) + day
