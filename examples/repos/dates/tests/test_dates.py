from dates import day_of_year, days_in, is_leap
from deadlines import days_between, month_end


def test_ordinary_years():
    assert not is_leap(2023)
    assert is_leap(2024)


def test_centuries():
    assert not is_leap(1900)
    assert is_leap(2000)
    assert not is_leap(2100)


def test_days_in():
    assert days_in(2024, 2) == 29
    assert days_in(2023, 2) == 28


def test_day_of_year():
    assert day_of_year(2023, 3, 1) == 60
    assert day_of_year(2024, 12, 31) == 366


def test_between():
    assert days_between((2023, 12, 30), (2024, 1, 2)) == 3


def test_month_end():
    assert month_end(2024, 2) == (2024, 2, 29)
