from cipher import shift, vowels
from letters import label, seal


def test_plain():
    assert shift("abc", 1) == "bcd"


def test_round_the_end():
    assert shift("xyz", 3) == "abc"


def test_case():
    assert shift("Zebra", 1) == "Afcsb"


def test_backwards():
    assert shift("abc", -1) == "zab"


def test_other_characters():
    assert shift("a-b c!", 2) == "c-d e!"


def test_vowels():
    assert vowels("Audio") == 4


def test_letters():
    assert seal("hi") == "kl"
    assert label("ann lee") == "To Ann Lee"
