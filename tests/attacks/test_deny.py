"""Deny by default: what no steward approved is not answered, whichever analysis asks it, and all that was is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from confrere.hospital.gate import Gate, Support, Violation, judge_clear, support_of
from confrere.hospital.manifest import Manifest, manifest
from confrere.rounds import Answers, Ask, Design, Round, Site, Sums, added, drive
from confrere.study import build
from confrere.testing import Case
from confrere.testing.runs import LOOSE, flow_of, table
from laws.cases import CASES

NOTHING = Manifest((), (), ())


class Watched:
    """Answers in the clear; every answer is shown to a gate of each manifest, which says whether it would leave."""

    def __init__(self, case: Case, listed: Manifest) -> None:
        self.sites = [Site(table(f), b"key") for f in case.hospitals()]
        self.approved, self.empty = Gate(LOOSE, 1000, listed), Gate(LOOSE, 1000, NOTHING)
        self.blind = Gate(LOOSE, 1000)  # judges designs, so that the empty gate refuses for its manifest alone
        self.asks = 0

    def answer(self, asks: Round) -> Answers:
        return tuple(self._support(a) if a.kind == "support" else self._sums(a) for a in asks)

    def _support(self, a: Ask) -> Any:
        designs = [s.design(a) for s in self.sites]
        verdict = judge_clear(designs, LOOSE)
        parts = [support_of(d) for d in designs]
        total = Support(*(np.sum([getattr(p, f) for p in parts], axis=0) for f in Support._fields))
        self._tried(a, designs[0], total)
        for s in self.sites:
            s.settle(a, verdict)
        return verdict

    def _tried(self, a: Ask, design: Design, total: Support) -> None:
        self.approved.settle(a, design, total)
        with pytest.raises(Violation, match="not in the manifest"):
            self.empty.settle(a, design, total)
        self.empty._about[a.analysis, a.step, a.group] = 1000  # as if it had been judged: values are refused too
        self.asks += 1

    def _sums(self, a: Ask) -> Sums | None:
        parts = [s.run(a) for s in self.sites]
        if a.kind == "keep":
            return None
        self.approved.admit(a, parts[0], self.sites[0].people(a))
        with pytest.raises(Violation, match="not in the manifest"):
            self.empty.admit(a, parts[0], self.sites[0].people(a))
        self.asks += 1
        return added(parts)


LONG = ("kmeans, how many",)  # the other cases of the method have the same asks
LISTED = [pytest.param(c, marks=[pytest.mark.slow] if c.label in LONG else [], id=c.label) for c in CASES]


@pytest.mark.parametrize("case", LISTED)
def test_every_ask_of_every_analysis_needs_its_place_in_the_manifest(case: Case) -> None:
    study = build.single(case.analysis, case.analysis.ground)
    watched = Watched(case, manifest(study))
    drive(flow_of(case.analysis), watched.answer)
    assert watched.asks >= 2


def test_an_array_under_another_name_or_with_other_words_is_not_listed() -> None:
    case = next(c for c in CASES if c.label.startswith("linear"))
    listed = manifest(build.single(case.analysis, case.analysis.ground))
    watched = Watched(case, listed)
    real = watched._sums
    seen = []

    def words(a: Ask) -> Sums | None:
        if a.kind == "ask" and not seen:
            sums = watched.sites[0].run(a)
            hostile = sums._replace(**{sums._fields[0]: replace(sums[0], dims=("patient 1017",) * len(sums[0].dims))})
            seen.append(any(s.dims for s in hostile))
            if sums[0].dims:
                with pytest.raises(Violation, match="not in the manifest"):
                    watched.approved.admit(a, hostile, 1000)
        return real(a)

    watched._sums = words  # type: ignore[method-assign]
    drive(flow_of(case.analysis), watched.answer)
    assert seen
