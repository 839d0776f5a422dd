"""The laws (DESIGN 8) as functions of a case: each raises AssertionError, and says what differs.

deals     1: any deal of the people to hospitals, an empty hospital included, gives the pooled finding
masks     2: masked equals clear, every hospital follows; a replay of the journal equals the live run, bit for bit
manifest  3: what leaves is in the manifest, and no shape depends on people beyond its bounds
order     4: the order of rows does not matter (1e-9), nor does that of hospitals: bit for bit, since rings add exactly
input     6: what is wrong is named, with the remedy; never a NaN in a table

Law 5, a reference and a case by hand, and law 7, the attacks, are the method's own to write.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from confrere.analyses.finding import Finding
from confrere.console.fit import Results
from confrere.errors import DataError, UserError
from confrere.hospital.gate import Policy, Violation
from confrere.hospital.manifest import manifest
from confrere.journal import recorded, replay
from confrere.rounds import Answers, Round, drive, leaves, name_of
from confrere.testing.people import HOSPITALS, patients, placed
from confrere.testing.runs import (
    EXACT,
    GATE,
    LOOSE,
    apart,
    checked,
    dealt,
    fit,
    flow_of,
    found,
    hold,
    in_the_clear,
    masked,
)

NAMES = HOSPITALS[:3]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A study of one analysis under the laws. The analysis is hashable: its settings are text, numbers and tuples.

    `terms` are the numeric columns it reads, which bad input may spoil. `stratified` marks a method stratified by
    hospital: its pooled twin has `strata(hospital)` in the formula. `people(n, seed)` makes its patients. `allow` are
    the disclosure classes that it needs.
    """

    analysis: Any
    note: str = ""
    terms: tuple[str, ...] = ()
    stratified: bool = False
    people: Callable[[int, int], pd.DataFrame] = patients
    allow: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The registered name of its analysis."""
        return name_of(self.analysis)

    @property
    def label(self) -> str:
        """As tests are called."""
        return ", ".join(filter(None, (self.name, self.note)))

    @property
    def twin(self) -> Any:
        """The analysis of all rows at one place that gives the same finding."""
        if not self.stratified:
            return self.analysis
        return replace(self.analysis, formula=f"{self.analysis.formula} + strata(hospital)")

    @property
    def policy(self) -> Policy:
        """The default gate, with the disclosure classes that the case needs."""
        return replace(GATE, allow=frozenset({*self.allow, *(EXACT.allow if self.analysis.ground.fine else ())}))

    def hospitals(self, n: int = 900, seed: int = 1) -> list[pd.DataFrame]:
        """Three hospitals that share people unevenly."""
        deal = np.random.default_rng(seed).choice(3, n, p=[0.5, 0.3, 0.2])
        return dealt(placed(self.people(n, seed), deal), deal, 3)

    def evenly(self, n: int, **columns: Any) -> list[pd.DataFrame]:
        """Three hospitals that share people evenly; `columns` have other values, given or made from the table."""
        frame = self.people(n, 1)
        frame = frame.assign(**{c: v(frame) if callable(v) else v for c, v in columns.items()})
        deal = np.arange(n) % 3
        return dealt(placed(frame, deal), deal, 3)


@lru_cache(maxsize=64)
def run_of(case: Case) -> Results:
    """The masked run of a case, made once: keys, masks, gates with the default thresholds, followed flows."""
    return masked(case.analysis, dict(zip(NAMES, case.hospitals(), strict=True)), allow=sorted(case.policy.allow))


# 1: deals -----------------------------------------------------------------------------------------------------


def any_deal_gives_the_pooled_finding(case: Case) -> None:
    """Uneven deals to four hospitals, one of which may have nobody; driven without thresholds, on one public grid."""
    for seed, shares in enumerate(([0.25] * 4, [0.7, 0.27, 0, 0.03], [0.05, 0.9, 0.05, 0])):
        deal = np.random.default_rng(seed).choice(4, 200, p=shares)
        hold(agree(case, case.people(200, 1), deal), f"{case.label}: there is no finding to compare")


def agree(case: Case, people: pd.DataFrame, deal: ArrayLike) -> bool:
    """The hospitals' finding is that of the twin on all rows, or both say the same error; whether there is one."""
    frame = placed(people, deal)
    over, at_once = _outcome(case.analysis, dealt(frame, deal, len(HOSPITALS))), _outcome(case.twin, [frame])
    if isinstance(over, Finding) and isinstance(at_once, Finding):
        if case.stratified:  # whom an attack is tried on is drawn by the settings, and the twin has another formula
            over, at_once = (
                replace(f, tables={n: t for n, t in f.tables.items() if n != "attack"}) for f in (over, at_once)
            )
        _alike(case, over, at_once, 1e-8)
        return True
    hold(over == at_once, f"{case.label}: over hospitals {over}, on all rows {at_once}")
    return False


def _outcome(analysis: Any, frames: list[pd.DataFrame]) -> Finding | type[UserError]:
    """The finding, or the kind of error that says why there is none."""
    try:
        return fit(analysis, frames, LOOSE)
    except UserError as error:
        return type(error)


def _alike(case: Case, one: Finding, other: Finding, tolerance: float) -> None:
    differences = apart(one, other, tolerance)
    hold(not differences, f"{case.label}: " + "; ".join(differences[:5]))


# 2: masks -----------------------------------------------------------------------------------------------------


def masked_equals_clear(case: Case) -> None:
    """That the masked run ends says too that every hospital's own flow agrees with the driver's."""
    _alike(case, found(run_of(case)), fit(case.analysis, case.hospitals(), case.policy), 1e-9)


def replay_equals_live(case: Case) -> None:
    """From the journal of a run, bit for bit."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.journal"
        live = drive(flow_of(case.analysis), recorded(in_the_clear(case.hospitals(), case.policy), path))
        again = drive(flow_of(case.analysis), replay(path))
    _alike(case, checked(live), again, 0.0)
    hold(live.facts == again.facts, f"{case.label}: facts {live.facts} live, {again.facts} replayed")


# 3: manifest --------------------------------------------------------------------------------------------------


def the_manifest_lists_what_leaves(case: Case) -> None:
    """Every array that left is in the manifest, with its dimensions, within its bounds, and not more often."""
    results = run_of(case)
    entries = sorted(manifest(results.study).entries, key=lambda e: e.bytes)  # of two alike, the larger
    listed = {(e.method, e.step, e.name): e for e in entries}
    times: Counter[tuple[Any, ...]] = Counter()
    for left in results.left:
        at = (left.analysis.lstrip("_"), left.step, left.name)
        hold(at in listed, f"{at} left, and the manifest of {case.label} does not say so")
        entry = listed[at]
        hold(left.dims == entry.dims, f"{at} left by {left.dims}, the manifest says {entry.dims}")
        hold(_within(left.shape, entry.bounds), f"{at} left as {left.shape}, the manifest allows {entry.bounds}")
        hold(left.bytes <= entry.bytes, f"{at} left {left.bytes} bytes, the manifest allows {entry.bytes}")
        times[(*at, left.settings)] += 1
    for (method, step, name, _), count in times.items():
        most = listed[method, step, name].repeats
        hold(not most or count <= most, f"{method} {step} {name} left {count} times, the manifest allows {most}")


def no_shape_depends_on_people(case: Case) -> None:
    """Over two networks the same arrays leave; their shapes lie within bounds that are public."""
    one, other = (_shapes(case, case.hospitals(n, seed)) for n, seed in ((900, 1), (1500, 2)))
    hold(one.dims == other.dims, f"{case.label}: {one.dims} over one network, {other.dims} over another")
    for seen in (one, other):
        for at, shapes in seen.shapes.items():
            inside = all(_within(shape, bounds) for shape in shapes for bounds in seen.bounds[at])
            hold(inside, f"{at} left as {shapes}, its bounds are {seen.bounds[at]}")


class _Shapes(NamedTuple):
    """What left in a clear drive: by part, its formula, step and field: dimensions, shapes and bounds."""

    dims: dict[tuple[str, ...], tuple[str, ...]]
    shapes: dict[tuple[str, ...], set[Shape]]
    bounds: dict[tuple[str, ...], set[Shape]]


def _shapes(case: Case, frames: list[pd.DataFrame]) -> _Shapes:
    """Drive in the clear under the default gate, and note every array."""
    answer, seen = in_the_clear(frames, case.policy), _Shapes({}, {}, {})

    def noted(asks: Round) -> Answers:
        answers = answer(asks)
        for a, got in zip(asks, answers, strict=True):
            for name, s in leaves(a, got) if a.kind == "ask" else ():
                at = (name_of(a.analysis), getattr(a.analysis, "formula", ""), a.step, name)
                seen.dims[at] = s.dims
                seen.shapes.setdefault(at, set()).add(s.value.shape)
                seen.bounds.setdefault(at, set()).add(s.bounds)
        return answers

    drive(flow_of(case.analysis), noted)
    return seen


def _within(shape: Shape, bounds: Shape) -> bool:
    return len(shape) == len(bounds) and all(n <= most for n, most in zip(shape, bounds, strict=True))


# 4: order -----------------------------------------------------------------------------------------------------


def the_order_of_rows_does_not_matter(case: Case) -> None:
    """To 1e-9: sums of floating numbers depend on their order in the last digits."""
    frames = case.evenly(240)
    shuffled = [f.sample(frac=1, random_state=7) for f in frames]
    _alike(case, fit(case.analysis, frames, LOOSE), fit(case.analysis, shuffled, LOOSE), 1e-9)


def the_order_of_hospitals_does_not_matter(case: Case) -> None:
    """Bit for bit, facts and arrays too."""
    turned = dict(zip((NAMES[2], NAMES[0], NAMES[1]), case.hospitals(), strict=True))
    again, once = found(masked(case.analysis, turned, allow=sorted(case.policy.allow))), found(run_of(case))
    _alike(case, once, again, 0.0)
    hold(once.facts == again.facts, f"{case.label}: facts {once.facts} and {again.facts}")
    for name, values in once.arrays.items():
        hold(np.array_equal(values, again.arrays[name]), f"{case.label}: the array {name} differs")


# 6: input -----------------------------------------------------------------------------------------------------

REMEDY = re.compile(
    r"\b(leave|drop|merge|declare|declared|correct|make|mend|write|use|set|check|choose|add|ask|invite|give|needs?|"
    r"did you mean|columns are|it has|must)\b",
    re.IGNORECASE,
)


def wrong_columns_are_named(case: Case) -> None:
    """Each of the case's terms in turn is absent, is text, is infinite, or is missing for everybody."""
    for term in case.terms:
        absent = [f.drop(columns=term) for f in case.evenly(300)]
        says(refusal(case, absent, DataError), term)
        for value, *words in (("n/a", "text"), (np.inf, "infinite")):
            says(refusal(case, case.evenly(300, **{term: _some(term, value)}), DataError), term, *words)
        error = refusal(case, case.evenly(300, **{term: np.nan}))
        says(error, *([term] if isinstance(error, UserError) else []))  # or the gate says that there is nobody


def few_people_give_no_nan(case: Case) -> None:
    """A handful of people: a finding without NaN, or an error that says what to do."""
    for n in (3, 6, 12):
        try:
            fit(case.analysis, case.evenly(n), LOOSE)
        except UserError as error:
            says(error)


def _some(term: str, value: Any) -> Callable[[pd.DataFrame], pd.Series]:
    """The column, in which two people have this value."""
    kind = object if isinstance(value, str) else float
    return lambda frame: frame[term].astype(kind).where(~frame.index.isin([3, 70]), value)


def refusal(case: Case, frames: list[pd.DataFrame], kind: Any = (UserError, Violation)) -> Exception:
    """The error of this kind with which a case stops on these people; another error goes through."""
    try:
        fit(case.analysis, frames, replace(LOOSE, hospitals=1))
    except kind as error:
        return error  # type: ignore[no-any-return]
    raise AssertionError(f"{case.label}: there is a finding where there should be an error")


def says(error: BaseException, *names: str) -> None:
    """The message of an error names these, and what to do."""
    text = str(error)
    hold(all(name in text for name in names), f"not all of {names} are named in: {text}")
    hold(bool(REMEDY.search(text)), f"no remedy: {text}")


Law = Callable[[Case], None]
LAWS: tuple[Law, ...] = (
    any_deal_gives_the_pooled_finding, masked_equals_clear, replay_equals_live, the_manifest_lists_what_leaves,
    no_shape_depends_on_people, the_order_of_rows_does_not_matter, the_order_of_hospitals_does_not_matter,
    wrong_columns_are_named, few_people_give_no_nan,
)  # fmt: skip
