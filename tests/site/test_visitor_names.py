"""The names that visitors give themselves."""

import pytest

from example_site.names import MAX_NAME_LENGTH, clean_name


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Ada", "Ada"),
        ("  Ada \t\n Lovelace ", "Ada Lovelace"),
        ("Ada said: I quit", "Ada said I quit"),
        ("A\u0000d\u001ba", "Ada"),
        ("\u202eadA", "adA"),
        ("Zoë 王 🎙", "Zoë 王 🎙"),
        ("<b>Ada</b>", "<b>Ada</b>"),
        ("", ""),
        (" : ", ""),
        ("\u200b\u2066", ""),
    ],
)
def test_name_is_cleaned(raw, clean):
    """What can mislead or hide is taken away; markup stays, for it is text."""
    assert clean_name(raw) == clean


def test_name_is_bounded():
    """A long name is cut, without a space left at its end."""
    assert clean_name("x" * 1000) == "x" * MAX_NAME_LENGTH
    assert clean_name("x" * (MAX_NAME_LENGTH - 1) + " yz") == "x" * (MAX_NAME_LENGTH - 1)
