from cloud import cloud
from words import count, most_common, split


def test_plain():
    assert split("one two") == ["one", "two"]


def test_case():
    assert split("The the THE") == ["the", "the", "the"]


def test_punctuation():
    assert split('"Stop!", he said.') == ["stop", "he", "said"]


def test_inner_marks_stay():
    assert split("it's a well-known fact") == ["it's", "a", "well-known", "fact"]


def test_marks_alone_are_no_words():
    assert split("yes - no ...") == ["yes", "no"]


def test_count():
    assert count("a b a") == {"a": 2, "b": 1}


def test_most_common():
    assert most_common("b a b c a b", 2) == ["b", "a"]


def test_cloud():
    assert cloud("rain rain go away") == "rain **\naway *\ngo *"
