"""Standard populations for direct standardisation by age. Public tables.

ESP 2013       Revision of the European Standard Population. Report of Eurostat's task force, 2013 edition. Luxembourg:
               Publications Office of the European Union, 2013. doi:10.2785/11470. Of 100,000; 90 years and over as one.
WHO 2000-2025  Ahmad OB, Boschi-Pinto C, Lopez AD, Murray CJL, Lozano R, Inoue M. Age standardization of rates: a new
               WHO standard. GPE discussion paper 31. Geneva: World Health Organization, 2001, table 4. Per cent; 85
               years and over as one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from confrere.errors import StudyError
from confrere.rounds import Array

WIDTH = 5  # years of a band; the last one is open
STANDARDS: dict[str, tuple[float, ...]] = {
    "ESP 2013": (5000, 5500, 5500, 5500, 6000, 6000, 6500, 7000, 7000, 7000, 7000, 6500, 6000, 5500, 5000, 4000, 2500,
                 1500, 1000),
    "WHO 2000-2025": (8.86, 8.69, 8.60, 8.47, 8.22, 7.93, 7.61, 7.15, 6.59, 6.04, 5.37, 4.55, 3.72, 2.96, 2.21, 1.52,
                      0.91, 0.63),
}  # fmt: skip


def check(standard: str, ages: Sequence[int]) -> None:
    """StudyError for an unknown standard, or bands (first years) that are none of its own."""
    if standard not in STANDARDS:
        raise StudyError(f"standard is '{standard}'; it must be one of {', '.join(STANDARDS)}")
    last = WIDTH * (len(STANDARDS[standard]) - 1)
    if odd := [age for age in ages if age % WIDTH or age > last]:
        raise StudyError(f"ages begin at {odd}; bands of {standard} begin at 0, {WIDTH}, {2 * WIDTH}, ... {last} years")


def weights(standard: str, ages: Sequence[int]) -> Array:
    """The weight (b,) of each band of age; bands begin at `ages`, and the last one is open."""
    first = WIDTH * np.arange(len(STANDARDS[standard]))
    band = np.searchsorted(np.array(ages), first, side="right") - 1
    return np.bincount(band[band >= 0], np.array(STANDARDS[standard])[band >= 0], minlength=len(ages)).astype(float)
