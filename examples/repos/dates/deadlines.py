"""Deadlines."""

from dates import day_of_year, days_in, is_leap


def days_between(first, second):
    """Return the number of days from one date to a later one; dates are (year, month, day)."""
    if first[0] == second[0]:
        return day_of_year(*second) - day_of_year(*first)
    days = sum(366 if is_leap(year) else 365 for year in range(first[0], second[0]))
    return days + day_of_year(*second) - day_of_year(*first)


def month_end(year, month):
    """Return the last date of a month."""
    return (year, month, days_in(year, month))
