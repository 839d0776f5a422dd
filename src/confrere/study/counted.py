"""A number of things, in English that is right for one thing too."""

from __future__ import annotations


def counted(n: float, one: str, many: str = "") -> str:
    """`1 hospital`, `2 hospitals`, `1,070 people` (`one` = "person", `many` = "people"); `n` is a whole number."""
    return f"{n:,.0f} {one if n == 1 else many or one + 's'}"


def persons(n: float) -> str:
    """`1 person`, `1,070 people`."""
    return counted(n, "person", "people")
