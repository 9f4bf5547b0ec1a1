from report import line
from stats import mean, median, spread


def test_mean():
    assert mean([1, 2, 6]) == 3


def test_median_in_order():
    assert median([1, 2, 9]) == 2


def test_median_out_of_order():
    assert median([9, 1, 2]) == 2


def test_median_of_even_count():
    assert median([1, 2, 4, 9]) == 3


def test_values_are_kept():
    values = [3, 1, 2]
    assert median(values) == 2
    assert values == [3, 1, 2]


def test_spread():
    assert spread([4, 9, 6]) == 5


def test_line():
    assert line("age", [20, 30]) == "age: mean 25.0, spread 10"
