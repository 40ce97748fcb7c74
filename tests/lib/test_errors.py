"""How names and switches that users give are read."""

from __future__ import annotations

import pytest

from lib.errors import InputError, NotFoundError, choose, parse_switch


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(NotFoundError, match="unknown loss 'dyce': did you mean 'dice'"):
        choose("loss", "dyce", {"dice": 1, "bce": 2})


@pytest.mark.parametrize("value", [True, "true", "Yes", " on ", 1, "1"])
def test_a_switch_is_on(value):
    assert parse_switch(value) is True


@pytest.mark.parametrize("value", [False, "false", "No", "off", 0, "0", None, ""])
def test_a_switch_is_off(value):
    assert parse_switch(value) is False


def test_something_else_is_no_switch():
    with pytest.raises(InputError, match="flips: expected true or false, found 'sometimes'"):
        parse_switch("sometimes", "flips")


def test_an_error_is_one_short_printable_line() -> None:
    error = InputError("a.dcm: found '\x00\n\x1b[31m\udc80' and " + "x" * 5000 + " end")
    text = str(error)
    assert text.isprintable() and len(text) < 1000
    assert "\\x00\\n\\x1b[31m" in text and text.endswith(" end")
    assert str(InputError("plain, grün")) == "plain, grün"
