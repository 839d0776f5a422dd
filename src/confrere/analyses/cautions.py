"""What a fit shows that asks its reader to act, from the finding's own numbers: nothing more is asked for it.

Every code has a section in docs/warnings.md. Sources: Peduzzi et al., J Clin Epidemiol 1995;48:1503 and 1996;49:1373
(ten events per term); Belsley, Kuh & Welsch, Regression Diagnostics, 1980 (condition index above 30); Albert &
Anderson, Biometrika 1984;71:1 (separation); Grambsch & Therneau, Biometrika 1994;81:515 (proportional hazards); Holm,
Scand J Stat 1979;6:65.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from confrere.analyses.finding import Caution, Record
from confrere.rounds import Array, Bools

PER_TERM = 10  # events
INDEX = 30.0  # condition index
APART, LOOSE = 4.0, 0.4  # a log ratio beyond 55 to 1 whose standard error says that it rests on some six people
LEVEL = 0.05
WIDE = 1.5  # times the variance that the family has


def few_events(events: int, terms: int, what: str = "events") -> tuple[Caution, ...]:
    """Fewer than ten events per term."""
    if events >= PER_TERM * terms:
        return ()
    least = f"fewer than {PER_TERM} per term, estimates may be unstable and too far from 0."
    said = f"{events} {what} for one term: {least}" if terms == 1 else f"{events} {what} for {terms} terms: {least}"
    return (Caution("few-events", said),)


def separated(names: Sequence[str], estimate: Array, se: Array, unit: Array) -> tuple[Caution, ...]:
    """Terms with a huge and imprecise log ratio. Estimates and `unit` (p,): 1 for an indicator, else two SDs."""
    far = (np.abs(estimate * unit) > APART) & (se * unit > LOOSE)
    if not far.any():
        return ()
    terms = _listed([names[int(j)] for j in np.flatnonzero(far)])
    return (
        Caution(
            "near-separation",
            f"{terms}: a ratio of more than {np.exp(APART):.0f} to 1, and imprecise. Hardly anybody on one side of it "
            f"has the outcome, or lacks it.",
        ),
    )


def unsure(names: Sequence[str], estimate: Array, vcov: Array, unit: Array) -> tuple[Caution, ...]:
    """Terms that nearly determine each other; else, since such terms have huge estimates too, near separation."""
    return collinear(names, vcov) or separated(names, estimate, np.sqrt(np.diag(vcov)), unit)


def unit_of(sd: Array, indicator: Bools) -> Array:
    """What a term is judged by, (p,): 1 for an indicator, two standard deviations for the others."""
    return np.where(indicator, 1.0, 2 * sd)


def collinear(names: Sequence[str], vcov: Array) -> tuple[Caution, ...]:
    """Terms that nearly determine each other: a condition index of their information; `vcov` (p, p), no intercept."""
    if len(names) < 2:
        return ()
    scale = np.sqrt(np.diag(vcov))
    information = np.linalg.inv(vcov / np.outer(scale, scale))
    size = np.sqrt(np.diag(information))
    values, along = np.linalg.eigh(information / np.outer(size, size))
    index = float(np.sqrt(values[-1] / max(values[0], 1e-300)))
    if index <= INDEX:
        return ()
    share = np.abs(along[:, 0])
    terms = _listed([name for name, s in zip(names, share, strict=True) if s > 0.3 * share.max()])
    return (
        Caution(
            "near-collinear",
            f"{terms} nearly determine each other (condition index {index:.0f}, above {INDEX:.0f}): their single "
            f"estimates are imprecise and depend on small changes.",
        ),
    )


def drifting_hazards(records: Sequence[Record]) -> tuple[Caution, ...]:
    """Hazards that are not proportional: the global tests over transforms of time, then terms, each corrected."""
    overall = {r["transform"]: float(r["p_value"]) for r in records if r["term"] == "GLOBAL"}
    if not overall:
        return ()
    transform = min(overall, key=lambda t: overall[t])
    p = min(1.0, overall[transform] * len(overall))
    if p >= LEVEL:
        return ()
    terms = [r for r in records if r["transform"] == transform and r["term"] != "GLOBAL"]
    named = _holm([r["term"] for r in terms], [float(r["p_value"]) for r in terms])
    which = f"most clearly {_listed(named)}" if named else "no single term stands out"
    scale = "log time" if transform == "log" else "time"
    return (
        Caution(
            "not-proportional",
            f"Hazard ratios change over {scale}: global test {_p(p)}, corrected for {len(overall)} tests; {which}. A "
            f"single ratio is an average over follow-up.",
        ),
    )


def untested_hazards(n: int, shared: bool) -> tuple[Caution, ...]:
    """Proportional hazards that could not be tested."""
    why = (
        "all events fall into one cell of time"
        if shared
        else f"a study answers a limited number of numbers about {n:,} people, and the fit needs them"
    )
    return (Caution("hazards-not-tested", f"Proportional hazards were not tested: {why}."),)


def overdispersed(ratio: float, what: str) -> tuple[Caution, ...]:
    """Counts whose Pearson chi-squared per degree of freedom is `ratio`."""
    if ratio <= WIDE:
        return ()
    return (
        Caution(
            "overdispersion",
            f"The {what} vary {ratio:.1f} times as much as the model says: standard errors are too small. Set robust.",
        ),
    )


def _holm(names: Sequence[str], p_values: Sequence[float]) -> list[str]:
    """Names whose p-values stay under the level after Holm's correction, in the order of their p-values."""
    found = []
    for rank, j in enumerate(np.argsort(p_values)):
        if p_values[int(j)] * (len(names) - rank) >= LEVEL:
            break
        found.append(names[int(j)])
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
