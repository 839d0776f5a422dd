"""Numbers as a medical journal prints them, in English and in French. Pure, exact about what is rounded.

House style (NEJM, Lancet): at least two decimals for ratios, P values to two decimals (three under 0.1, `<0.001`
at the end), a true minus sign, thousands set apart. Only the page rounds: the CSV beside it holds
every digit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Language = Literal["en", "fr"]

NONE = "–"  # where there is no number
MINUS = "−"
THIN = "\u202f"  # narrow no-break space
FIRM = "\u00a0"  # no-break space: between a number and what belongs to it


@dataclass(frozen=True)
class Numerals:
    """Formats numbers for one language."""

    lang: Language = "en"

    def fixed(self, value: float | None, digits: int = 2) -> str:
        """`value` with exactly `digits` decimals."""
        if value is None or not math.isfinite(value):
            return NONE
        shown = f"{abs(value):,.{digits}f}"
        sign = MINUS if value < 0 and any(c in "123456789" for c in shown) else ""
        return sign + self._marks(shown)

    def significant(self, value: float | None, digits: int = 3) -> str:
        """`value` with `digits` significant figures, powers of ten where it is tiny or huge."""
        if value is None or not math.isfinite(value):
            return NONE
        if value == 0:
            return "0"
        size = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
        if size < -4 or size > 8:
            mantissa, power = f"{value:.{digits - 1}e}".split("e")
            exponent = str(int(power)).replace("-", MINUS).translate(SUPERSCRIPT)
            return f"{self.fixed(float(mantissa), digits - 1)} × 10{exponent}"
        return self.fixed(value, max(0, digits - 1 - size))

    def short(self, value: float | None, digits: int = 3) -> str:
        """`significant` without the zeros at its end: for axes, medians and settings."""
        shown = self.significant(value, digits)
        mark = "," if self.lang == "fr" else "."
        return shown.rstrip("0").rstrip(mark) if mark in shown and "×" not in shown else shown

    def estimate(self, value: float | None, low: float | None, high: float | None, ratio: bool) -> str:
        """`0.73 (0.61–0.88)`: all three with the decimals that the width of the interval deserves."""
        if value is None:
            return NONE
        odd = low is None or high is None or not 1e-6 < high - low < 1e6
        if low is None or high is None or odd or (ratio and high >= 100):
            form = self.fixed if ratio and value >= 0.01 and odd else self.significant
            limits = self.interval(form(low), form(high))
            return form(value) if limits == NONE else f"{form(value)} ({limits})"
        size = math.floor(math.log10(high - low))
        digits = min(4, max(2, 1 - size)) if ratio else max(0, 2 - size)
        limits = self.interval(self.fixed(low, digits), self.fixed(high, digits))
        return f"{self.fixed(value, digits)} ({limits})"

    def count(self, value: float | None) -> str:
        """A count of people; a weighted one keeps a decimal."""
        if value is None:
            return NONE
        return self.fixed(value, 0 if float(value).is_integer() else 1)

    def about(self, value: float | None) -> str:
        """A count that is estimated: `≈ 41`."""
        return NONE if value is None else f"≈{FIRM}{self.count(value)}"

    def percent(self, value: float | None, digits: int = 1) -> str:
        """A proportion as a percentage, with its sign."""
        if value is None:
            return NONE
        return self.fixed(100 * value, digits) + (f"{THIN}%" if self.lang == "fr" else "%")

    def p_value(self, value: float | None) -> str:
        """`0.52`, `0.004`, `<0.001`, `>0.99`."""
        if value is None:
            return NONE
        if value < 0.001:
            return "<" + self.fixed(0.001, 3)
        if value > 0.99:
            return ">" + self.fixed(0.99)
        # 0.0496 must not print as 0.050 beside a verdict at that level.
        near = 0.0495 <= value < 0.05
        return self.fixed(value, 4 if near else 3 if value < 0.0995 else 2)

    def p_equals(self, value: float | None) -> str:
        """`P = 0.52` or `P < 0.001`, on one line."""
        shown = self.p_value(value)
        name = "p" if self.lang == "fr" else "P"
        return FIRM.join((name, shown[0], shown[1:]) if shown[0] in "<>" else (name, "=", shown))

    def interval(self, low: str, high: str) -> str:
        """Two printed limits as one range; words instead of a dash beside minus signs."""
        if low == high == NONE:
            return NONE
        if MINUS in low + high or NONE in (low, high):
            return f"{low} {'à' if self.lang == 'fr' else 'to'} {high}"
        return f"{low}–{high}"

    def size(self, count: int) -> str:
        """Bytes in a unit a person reads (1 kB is 1,000 bytes)."""
        value, unit = float(count), 0
        while value >= 999.5 and unit < 4:
            value, unit = value / 1000, unit + 1
        letter = "o" if self.lang == "fr" else "B"
        name = ["o" if self.lang == "fr" else "bytes", f"k{letter}", f"M{letter}", f"G{letter}", f"T{letter}"][unit]
        return f"{self.fixed(value, 0) if unit == 0 else self.significant(value)}{FIRM}{name}"

    def any(self, value: Any) -> str:
        """Whatever a table or a setting holds, as words."""
        if value is None or value == "":
            return NONE
        if isinstance(value, bool):
            return {"en": ("no", "yes"), "fr": ("non", "oui")}[self.lang][value]
        if isinstance(value, int):
            return self.count(value)
        if isinstance(value, float):
            return self._float(value)
        if isinstance(value, dict):
            return "; ".join(f"{key} = {self.any(item)}" for key, item in value.items())
        if isinstance(value, (list, tuple)):
            return ", ".join(self.any(item) for item in value)
        return str(value)

    def _float(self, value: float) -> str:
        """A number of unknown meaning: whole ones bare, two decimals where there are hundreds of it."""
        if value.is_integer() and abs(value) < 1e9:
            return self.count(value)
        return self.fixed(value) if 100 <= abs(value) < 1e9 else self.short(value, 4)

    def _marks(self, shown: str) -> str:
        """Exchange Python's marks for the language's."""
        if self.lang == "fr":
            return shown.replace(",", THIN).replace(".", ",")
        return shown


SUPERSCRIPT = str.maketrans("0123456789−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
