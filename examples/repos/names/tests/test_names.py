from columns import header
from names import camel, snake


def test_one_word():
    assert snake("user") == "user"


def test_two_words():
    assert snake("userName") == "user_name"


def test_many_words():
    assert snake("theLastUserName") == "the_last_user_name"


def test_capital_first():
    assert snake("UserName") == "user_name"


def test_camel():
    assert camel("the_last_user") == "theLastUser"


def test_header():
    assert header(["user_name", "age"]) == ["userName", "age"]
