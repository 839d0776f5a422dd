"""Where the ticks of an axis stand and what they say."""

from __future__ import annotations

import math
from typing import NamedTuple

from confrere.report.numerals import Numerals

DAYS_PER = {"years": 365.25, "months": 30.4375, "weeks": 7.0}
STEPS = {  # what people count in, from fine to coarse
    "days": (1, 2, 5, 10, 20, 30, 60, 90, 180, 360),
    "weeks": (1, 2, 4, 8, 13, 26, 52, 104),
    "months": (1, 2, 3, 6, 12, 24, 36, 60, 120),
    "years": (0.25, 0.5, 1, 2, 5, 10, 20),
}


class Clock(NamedTuple):
    """The unit in which times are shown: days of a long study are shown in years."""

    unit: str | None  # days, weeks, months, years, another word, or None where the study names none
    per: float = 1.0  # units of the data in one shown unit

    def shown(self, time: float | None, numerals: Numerals, digits: int = 1) -> str:
        """A time as text: whole numbers bare, 3,650 days as 10 years."""
        if time is None:
            return numerals.fixed(None)
        value = time / self.per
        # 365 days are a year to every reader, although they are 0.9993 of one.
        whole = abs(value - round(value)) < (0.01 if self.per != 1 else 1e-9)
        return numerals.fixed(value, 0 if whole else digits)


def clock(unit: str | None, longest: float) -> Clock:
    """Years for days of two years and more; every other unit stays."""
    if unit == "days" and longest >= 2 * 365:
        return Clock("years", DAYS_PER["years"])
    return Clock(unit)


def median_clock(shown: Clock, unit: str | None, least: float) -> Clock:
    """Months where the shortest of some lengths of time is under two years; else the unit that is shown."""
    per = {"days": 1.0, "years": 1 / DAYS_PER["years"]}.get(unit or "")
    if per is None or not 60 <= least / per < 2 * DAYS_PER["years"]:
        return shown
    return Clock("months", DAYS_PER["months"] * per)


def time_ticks(time: Clock, longest: float, most: int = 8) -> list[float]:
    """Round times from 0 to `longest`, in units of the data, at most `most` of them and one."""
    end = longest / time.per
    if end <= 0:
        return [0.0]
    fitting = [step for step in STEPS.get(time.unit or "", ()) if end / step <= most]
    step = fitting[0] if fitting else nice_step(end, most)
    return [time.per * step * i for i in range(int(end / step + 1e-9) + 1)]


def nice_step(length: float, most: int) -> float:
    """The least 1, 2 or 5 times a power of ten by which `length` has at most `most` steps."""
    rough = length / most
    size = 10.0 ** math.floor(math.log10(rough))
    return next(size * m for m in (1, 2, 5, 10) if size * m >= rough * (1 - 1e-9))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers inside [low, high]."""
    step = nice_step(high - low, most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [0.0 if i == 0 else float(f"{i * step:.12g}") for i in range(first, last + 1)]


def ratio_ticks(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis of ratios: 0.5, 1, 2 and the like, never crowded; 1 always among them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for marks in ((1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)):
        found = [float(f"{m * 10.0**p:.12g}") for p in powers for m in marks]
        if low > 0.5 and high < 2:  # a narrow axis counts evenly
            found = ticks(low, high, 6)
        inside = sorted({tick for tick in found if low <= tick <= high} | {1.0})
        if len(inside) <= 7:
            break
    return inside
