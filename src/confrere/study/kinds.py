"""What is written in a study file, as the type that is wanted; what is wrong with it, in plain words."""

from __future__ import annotations

import re
from typing import Any, get_args, get_origin

import msgspec

_WORDS = {
    "float": "a number", "int": "a whole number", "str": "a text", "bool": "true or false", "array": "a list",
    "object": "a table", "date": "a date",
}  # fmt: skip
# What msgspec says of a wrong type: expected, length of a list, got; then the entry of a list or the path to it.
_EXPECTED = re.compile(
    r"Expected `([^`]+)`(?: of length (\d+))?, got `?([^` ]+)`?(?: - at `\$(?:\[(\d+)\]|\[\.\.\.\]|\.([^`]+))`)?"
)


def converted(value: Any, kind: Any) -> Any:
    """`value` as the type `kind` (whole numbers pass for float, lists for tuples); no text becomes a number.

    Where a list of any length is wanted, one value is a list of one. Raises msgspec.ValidationError, which says in
    plain words what was expected.
    """
    single = not isinstance(value, list | tuple) and get_origin(kind) is tuple and get_args(kind)[-1] is ...
    try:
        return msgspec.convert([value] if single else value, kind, strict=True)
    except msgspec.ValidationError as error:
        text = str(error).replace(" - at `$[0]`", "") if single else str(error)
        raise msgspec.ValidationError(_wanted(text)) from None


def _wanted(message: str) -> str:
    """The message of msgspec on a wrong type, in the words of who writes a study file."""
    if not (found := _EXPECTED.fullmatch(message)):
        return message
    wanted = " or ".join(_WORDS.get(word, word) for word in found[1].split(" | ") if word != "null")
    got = {"float": "a number with decimals", "str": "a text in quotes"}.get(found[3], _WORDS.get(found[3], found[3]))
    number = f" of {found[2]}" if found[2] else ""
    entry = f" (entry {int(found[4]) + 1})" if found[4] else f" ({found[5]})" if found[5] else ""
    return f"must be {wanted}{number}, not {f'of {got}' if number else got}{entry}"
