"""What a study declares about the columns of a table: levels, plausible range, unit.

Columns that a study does not declare are numeric. Levels are declared, never asked: no hospital is made to
list the values that its patients have, and the names of a design are known before any data are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from confrere.errors import StudyError

MOST_LEVELS = 1000


@dataclass(frozen=True)
class Column:
    """One declared column.

    levels  the values of a categorical column, in order; the first is the reference. None: numeric
    range   (lowest, highest) plausible value, in `unit`; values outside are clamped, counted and reported
    unit    free text, shown in reports
    Raises StudyError when these contradict each other.
    """

    name: str
    levels: tuple[str, ...] | None = None
    range: tuple[float, float] | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        if self.levels is not None:
            self._check_levels(self.levels)
        if self.range is not None:
            low, high = self.range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise StudyError(
                    f"[data.columns.{self.name}]: range = [{low}, {high}] must be two finite numbers, "
                    "the lowest plausible value first"
                )

    def _check_levels(self, levels: tuple[str, ...]) -> None:
        where = f"[data.columns.{self.name}]: levels"
        if self.range is not None:
            raise StudyError(f"{where} and range exclude each other; keep the one that fits the column")
        if not 2 <= len(levels) <= MOST_LEVELS:
            raise StudyError(f"{where} must list 2 to {MOST_LEVELS} values, not {len(levels)}")
        for level in levels:
            if levels.count(level) > 1:
                raise StudyError(f"{where} lists '{level}' more than once; each level stands there once")
            if not level.strip() or level != level.strip() or not level.isprintable():
                raise StudyError(f"{where} lists {level!r}; a level is printable text without outer blanks")


@dataclass(frozen=True)
class Schema:
    """The declared columns of a table, by name. Hashable, so that parsed formulas can be cached."""

    columns: Mapping[str, Column] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))

    def __hash__(self) -> int:
        return hash(tuple(sorted(self.columns.items(), key=lambda item: item[0])))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and dict(self.columns) == dict(other.columns)

    def __reduce__(self) -> tuple[object, ...]:
        return Schema, (dict(self.columns),)

    def column(self, name: str) -> Column:
        """The declared column, or a numeric one of that name."""
        return self.columns.get(name, Column(name))

    def levels(self, name: str) -> tuple[str, ...] | None:
        """Declared levels of `name`; None when it is numeric."""
        return self.column(name).levels

    def to_dict(self) -> dict[str, dict[str, object]]:
        """Plain form, as in a study file: {name: {levels, range, unit}}, sorted, without what is not said."""
        plain: dict[str, dict[str, object]] = {}
        for name, column in sorted(self.columns.items()):
            said = {"levels": column.levels, "range": column.range, "unit": column.unit}
            plain[name] = {k: list(v) if isinstance(v, tuple) else v for k, v in said.items() if v is not None}
        return plain

    @staticmethod
    def from_dict(plain: Mapping[str, Mapping[str, object]]) -> Schema:
        """The inverse of `to_dict`. Levels may be text or whole numbers. Raises StudyError."""
        return Schema({name: _column(name, said) for name, said in plain.items()})


def _column(name: str, said: Mapping[str, object]) -> Column:
    unit = said.get("unit")
    if unit is not None and not isinstance(unit, str):
        raise StudyError(f'[data.columns.{name}]: unit must be text, such as unit = "years"')
    return Column(name, _levels(name, said.get("levels")), _range(name, said.get("range")), unit)


def _levels(name: str, said: object) -> tuple[str, ...] | None:
    if said is None:
        return None
    if not isinstance(said, list | tuple) or not all(_is_level(level) for level in said):
        raise StudyError(
            f'[data.columns.{name}]: levels must be a list of texts or whole numbers, such as levels = ["no", "yes"]'
        )
    return tuple(str(level) for level in said)


def _is_level(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _range(name: str, said: object) -> tuple[float, float] | None:
    if said is None:
        return None
    numbers = isinstance(said, list | tuple) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in said
    )
    if not isinstance(said, list | tuple) or not numbers or len(said) != 2:
        raise StudyError(f"[data.columns.{name}]: range must be two numbers, such as range = [0, 120]")
    return float(said[0]), float(said[1])
