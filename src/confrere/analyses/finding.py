"""What an analysis returns at the coordinator: tables of records, computed from sums alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from confrere.analyses.distributions import chi2_sf, t_ppf, t_sf
from confrere.errors import StudyError
from confrere.rounds import Array, Flow, Verdict

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
SHORT = {"hazard_ratio": "hr", "odds_ratio": "or", "rate_ratio": "rr"}  # prefixes of their limits


class Citation(NamedTuple):
    """A paper that a result rests on."""

    text: str
    doi: str


class Caution(NamedTuple):
    """What a reader must know before using a result; `code` names its section in docs/warnings.md."""

    code: str
    text: str

    @property
    def page(self) -> str:
        """Where the documentation says more: path and anchor from the root of the docs."""
        return f"warnings.md#{self.code}"


@dataclass(frozen=True)
class Finding:
    """A finding. `tables` are lists of records in the names that broom and lifelines users know.

    `n` people and `events` (None where there are none) over `hospitals` contributing hospitals. `facts` are
    single numbers and words, `arrays` what predictions need (above all `vcov`, (p, p) in units of the terms).
    `notes` say how to read it, `warnings` what asks the reader to act. `analysis` is the analysis that found it, on
    its final ground: with the levels of columns and the moments that its formula standardises by.
    """

    method: str
    n: int
    hospitals: int
    tables: Mapping[str, list[Record]]
    events: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[Caution, ...] = ()
    cite: tuple[Citation, ...] = ()
    analysis: Any = None

    def summary(self, table: str = "") -> pd.DataFrame:
        """One table as a pandas DataFrame: the coefficients, or the first, unless named."""
        import pandas as pd

        name = table or ("coefficients" if "coefficients" in self.tables else next(iter(self.tables)))
        if name not in self.tables:
            raise StudyError(f"{self.method} has no table {name!r}; it has {', '.join(self.tables)}")
        return pd.DataFrame.from_records(self.tables[name])


def coefficients(
    names: Sequence[str],
    estimate: Array,
    se: Array,
    robust: Array | None = None,
    exponent: str = "",
    df: float | Array = np.inf,
) -> list[Record]:
    """Records of estimates (p,) with standard errors (p,); tests and limits by the robust ones if given.

    `exponent` is the prefix (`hazard_ratio`, `odds_ratio`, ...) under which exp(estimate) and its limits are added.
    `df` is that of t, for all or (p,); infinite for z.
    """
    used = se if robust is None else robust
    statistic = estimate / used
    df = np.broadcast_to(df, estimate.shape)
    reach = t_ppf(0.975, df) * used
    records = []
    for j, name in enumerate(names):
        record: Record = {"term": name, "estimate": float(estimate[j]), "std_error": float(se[j])}
        if robust is not None:
            record["robust_se"] = float(robust[j])
        record["statistic"] = float(statistic[j])
        record["p_value"] = float(2 * t_sf(abs(statistic[j]), df[j]))
        record["conf_low"], record["conf_high"] = float(estimate[j] - reach[j]), float(estimate[j] + reach[j])
        if exponent:
            low, high = estimate[j] - reach[j], estimate[j] + reach[j]
            short = SHORT.get(exponent, exponent)
            record |= {exponent: _exp(estimate[j]), f"{short}_low": _exp(low), f"{short}_high": _exp(high)}
        records.append(record)
    return records


def _exp(value: float) -> float | None:
    """exp, None where it is too large for a number."""
    return float(np.exp(value)) if value < 700 else None


def chi_square(name: str, statistic: float, df: int) -> Record:
    """A record of a chi-square test."""
    return {"test": name, "statistic": float(statistic), "df": df, "p_value": float(chi2_sf(statistic, df))}


def attrition(verdict: Verdict) -> list[Record]:
    """People by reason of being left out, then those analysed; counts under k are null with `suppressed`."""
    left = dict(verdict.left_out)
    known = all(n is not None for n in left.values())
    read = verdict.n + sum(n or 0 for n in left.values()) if known else None
    rows: list[Record] = [_counted("records read", "", read)]
    rows += [_counted("left out", reason, n) for reason, n in left.items() if n is None or n > 0]
    return [*rows, _counted("analysed", "", verdict.n)]


def count(name: str, value: float, k: int) -> Record:
    """A count as a field of a record; null with `suppressed` where it is of 1 to k-1 people."""
    whole = round(value)
    return {name: None, "suppressed": True} if 0 < whole < k else {name: whole}


def _counted(step: str, reason: str, n: int | None) -> Record:
    record: Record = {"step": step, "reason": reason, "n": n}
    return record if n is not None else record | {"suppressed": True}


FlowFinding = Flow[Finding]
