"""What comes from elsewhere is held against what it should be."""

from typing import TypedDict

import pytest

from flask_wshandler.cli.json_shape import has_shape


class Inner(TypedDict):
    names: list[str]
    size: int | None


class Outer(TypedDict):
    inner: Inner
    age_s: float


RIGHT = {"inner": {"names": ["a"], "size": 1}, "age_s": 2}


@pytest.mark.parametrize(
    "value",
    [
        RIGHT,
        {**RIGHT, "age_s": 0.5, "more": "of another version"},
        {**RIGHT, "inner": {"names": [], "size": None}},
    ],
)
def test_what_is_right(value):
    """Also with more than was asked for."""
    assert has_shape(value, Outer)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {**RIGHT, "inner": None},
        {**RIGHT, "inner": {"names": "a", "size": 1}},
        {**RIGHT, "inner": {"names": [1], "size": 1}},
        {**RIGHT, "inner": {"names": [], "size": True}},
        {**RIGHT, "inner": {"names": [], "size": -1}},
        {**RIGHT, "inner": {"names": [], "size": 10**400}},
        {**RIGHT, "age_s": float("nan")},
        {**RIGHT, "age_s": float("inf")},
        {**RIGHT, "age_s": "1"},
    ],
)
def test_what_is_not(value):
    """Numbers that are none, among others."""
    assert not has_shape(value, Outer)
