"""The rows of a pandas table as formulas compute with them: numbers, and codes of declared levels."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from confrere.errors import DataError, FormulaError
from confrere.study.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

Array = NDArray[np.float64]


class TableRows:
    """One table under a schema. `means` holds the network-wide mean and SD of pooled expressions."""

    def __init__(self, table: pd.DataFrame, schema: Schema, means: Mapping[str, tuple[float, float]]) -> None:
        self.table, self.schema, self.means = table, schema, means
        self._numbers: dict[str, Array] = {}
        self._codes: dict[str, NDArray[np.int64]] = {}

    def levels(self, name: str) -> tuple[str, ...] | None:
        return self.schema.levels(name)

    def _series(self, name: str) -> pd.Series[Any]:
        if name not in self.table.columns:
            raise DataError(f"no column '{name}' in the table; {nearest(name, [str(c) for c in self.table])}")
        return self.table[name]

    def numbers(self, name: str) -> Array:
        if name not in self._numbers:
            self._numbers[name] = _numbers(name, self._series(name))
        return self._numbers[name]

    def codes(self, name: str) -> NDArray[np.int64]:
        if name not in self._codes:
            self._codes[name] = _codes(name, self._series(name), self.levels(name) or ())
        return self._codes[name]

    def pooled(self, text: str) -> tuple[float, float]:
        if text not in self.means:
            raise FormulaError(f"the mean and SD of '{text}' over all hospitals are needed first: ask Model.inner")
        mean, sd = self.means[text]
        if not (np.isfinite(mean) and np.isfinite(sd) and sd > 0):
            raise DataError(f"'{text}' is constant over all hospitals, so that it cannot be standardised; leave it out")
        return mean, sd


def _numbers(name: str, series: pd.Series[Any]) -> Array:
    try:
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"column '{name}' holds text; a text column needs declared levels: levels = [...] under "
            f"[data.columns.{name}]"
        ) from error
    if not whole(values) and (bad := int(np.count_nonzero(np.isinf(values)))):
        raise DataError(f"column '{name}' has {bad} infinite values; make them missing or correct them")
    return np.asarray(values, dtype=np.float64)


def whole(values: Array) -> bool:
    """Whether the sum of values (n,) is finite, as it only is of numbers that all are: one pass, and nothing made."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(values.sum()))


def side_by_side(columns: Sequence[Array]) -> Array | None:
    """Columns (N,) of one block of memory, each right after the one before, as the table (N, p) that they are there.

    Not copied, and read-only. None where they lie otherwise.
    """
    block = columns[0].base if columns else None
    if not isinstance(block, np.ndarray) or block.dtype != np.float64 or not block.flags.forc:
        return None
    n, start = len(columns[0]), columns[0].ctypes.data
    for j, column in enumerate(columns):
        at, here = start + j * n * block.itemsize, column.base is block and column.flags.c_contiguous
        if not here or column.dtype != block.dtype or column.ctypes.data != at:
            return None
    first = (start - block.ctypes.data) // block.itemsize
    table: Array = block.ravel(order="K")[first : first + n * len(columns)].reshape(len(columns), n).T
    table.flags.writeable = False
    return table


def _codes(name: str, series: pd.Series[Any], levels: tuple[str, ...]) -> NDArray[np.int64]:
    import pandas as pd

    # Through the distinct values, so that a million rows cost a handful of texts.
    known = series.array if isinstance(series.dtype, pd.CategoricalDtype) else pd.Categorical(series)
    place = {level: i for i, level in enumerate(levels)}
    found = [place.get(_label(value), -2) for value in known.categories]
    codes: NDArray[np.int64] = np.array([*found, -1], dtype=np.int64)[np.asarray(known.codes)]
    if bad := int(np.count_nonzero(codes == -2)):
        raise DataError(
            f"column '{name}' has {bad} values that are no declared level; declared are {list(levels)}. "
            f"Correct the data, or add the level under [data.columns.{name}]"
        )
    return codes


def _label(value: object) -> str:
    """A value as a level is declared: 2.0 is '2'."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def nearest(name: str, names: Sequence[str]) -> str:
    """'did you mean ...?', or what there is."""
    near = get_close_matches(name, names, 1, 0.6) or [n for n in names if n.casefold() == name.casefold()]
    return f"did you mean '{near[0]}'?" if near else f"columns are {', '.join(sorted(names)[:30])}"
