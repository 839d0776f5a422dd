"""Similar cases: a vote of the network's nearest cases on one question, without a case leaving its hospital.

The question is a row of numbers, such as what an encoder makes of a picture. Every hospital finds its `neighbours`
people nearest to it (Euclidean; of a person's pictures the nearest one counts) and counts their labels; the counts
leave as a sum, so that every neighbour has one vote. That is the rule of k nearest neighbours (Cover & Hart, IEEE Trans
Inf Theory 1967;13:21) in every hospital, added up. Intervals of shares: Wilson, J Am Stat Assoc 1927;22:209.

**What it guards against.** Who may choose questions may choose them close together: a neighbourhood that moves by
little loses one person and gains another, and the difference of two answers is the labels of these two. So the number
of neighbours is fixed and at least k in each hospital; a hospital with fewer is not in it. A label that 1 to k-1 people
of the network have is hidden, with what would give it away. Two questions of one study are refused where a label's
people in one and in the other differ by 1 to k-1 people of the network; two studies, where a hospital's neighbourhoods
do (the differencing guard). And a hospital answers a limited number of questions in all (`[policy] questions`).

**The question is public**: every hospital sees it, and the ledger keeps it. It must not be a patient's without their
consent. Of an encoder's numbers a picture can be guessed in part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from confrere.analyses.at_risk import check_level, followed
from confrere.analyses.distributions import norm_ppf
from confrere.analyses.finding import Citation, Finding, FlowFinding, Record, attrition
from confrere.errors import ModelError, StudyError
from confrere.rounds import Array, Bools, Cells, Design, Flow, People, Sum, ask, local, register, support
from confrere.study.ground import Ground, complete
from confrere.study.rows import TableRows

FEWEST, MOST = 11, 500  # neighbours in a hospital
LONGEST = 4096  # numbers of a question
CITE = (
    Citation("Cover TM, Hart PE. Nearest neighbor pattern classification. IEEE Trans Inf Theory 1967;13:21-27",
             "10.1109/TIT.1967.1053964"),
    Citation("Wilson EB. Probable inference, the law of succession, and statistical inference. J Am Stat Assoc "
             "1927;22:209-212", "10.1080/01621459.1927.10502953"),
)  # fmt: skip
HIDDEN = "Labels that fewer people have than the rule allows are hidden, and with them those that would give them away."


class Votes(NamedTuple):
    """The nearest people by label, but for labels that are hidden."""

    people: Sum  # (1, labels)


@register("similar_cases")
@dataclass(frozen=True)
class SimilarCases:
    """Count the labels, `outcome` (declared levels), among the `neighbours` people of every hospital nearest to
    `question`.

    `question` are the numbers of the case: of an encoder, where `bags` names bags of images; or of the columns
    `features`. `bag_recipe` says how the bags are made, as the question was. `scales` are units by which numbers are
    divided before distances are taken (1 unless given). `within` names a column in each of whose groups the nearest are
    sought by themselves, such as a tone of skin.

    Finding: tables `votes` (a record per label: `label`, `n`, `share`, `conf_low`, `conf_high`; hidden ones null with
    `suppressed`) and `attrition`. Errors: StudyError for settings; DataError where bags have another size or recipe.
    """

    outcome: str
    question: tuple[float, ...]
    features: tuple[str, ...] = ()
    bags: str = ""
    bag_recipe: str = ""
    neighbours: int = 30
    scales: tuple[float, ...] = ()
    within: str = ""
    conf_level: float = 0.95
    ground: Ground = Ground()

    def __post_init__(self) -> None:
        for name in ("question", "features", "scales"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    # public

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, as declared."""
        return self.ground.schema.levels(self.outcome) or ()

    @property
    def bag_size(self) -> int:
        """How many numbers a row of the bags has; 0 where there are none."""
        return len(self.question) if self.bags else 0

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns read."""
        by = (self.ground.person,) if self.bags else self.features
        return tuple(dict.fromkeys(n for n in (self.outcome, *by, self.within) if n))

    @property
    def selecting(self) -> tuple[str, ...]:
        """The words for whom it tells about, twice: by columns that somebody may miss, and as everybody of its own."""
        asked = ", ".join(repr(float(q)) for q in self.question)
        scaled = f" in units of {self.scales}" if self.scales else ""
        groups = f" in each {self.within}" if self.within else ""
        about = f"the {self.neighbours} nearest to ({asked}){scaled} by {self.bags or self.features}{groups}"
        return about, f"all {about}"

    def check(self) -> None:
        """Settings, before anything is asked."""
        if not self.labels:
            raise StudyError(f"outcome is '{self.outcome}'; declare its levels, [data.columns.{self.outcome}] levels")
        if bool(self.bags) == bool(self.features):
            raise StudyError("name either bags, whose pictures are compared, or features, columns that are")
        if self.bag_recipe and not self.bags:
            raise StudyError("bag_recipe says how rows of bags were made; name the bags, or leave it out")
        if self.bags and not self.ground.person:
            raise StudyError('bags are joined to people by their id: name its column, [data] person = "..."')
        if not 1 <= len(self.question) <= LONGEST or not np.isfinite(self.question).all():
            raise StudyError(f"question has {len(self.question)} numbers; give 1 to {LONGEST} finite ones")
        if self.features and len(self.question) != len(self.features):
            raise StudyError(
                f"question has {len(self.question)} numbers for {len(self.features)} features; give each one"
            )
        if self.scales and (len(self.scales) != len(self.question) or not all(0 < s < np.inf for s in self.scales)):
            raise StudyError("scales must be positive, one for each number of the question")
        if not FEWEST <= self.neighbours <= MOST:
            raise StudyError(f"neighbours is {self.neighbours}; give {FEWEST} to {MOST}, the same in every hospital")
        check_level(self.conf_level)

    # inside each hospital

    def _rows(self, table: Any) -> Bools:
        """(N,) who has all columns and, of bags, a picture."""
        rows = complete(table.frame, tuple(dict.fromkeys((*self.ground.complete, *self.reads))))
        if self.bags:
            rows &= self._bags(table).known(table.frame[self.ground.person])
        return np.asarray(rows, dtype=bool)

    def _bags(self, table: Any) -> Any:
        found = table.bags[self.bags]
        return found.fit(self.bags, self.bag_size, self.bag_recipe) if len(table.frame) else found

    def _distances(self, table: Any, rows: Bools) -> Array:
        """(n,) how far each of the rows is from the question; of several pictures the nearest."""
        asked, scales = np.array(self.question), np.array(self.scales or (1.0,))
        if not self.bags:
            read = TableRows(table.frame[rows], self.ground.schema, {})
            x = np.stack([read.numbers(name) for name in self.features], axis=1)
            return np.asarray(np.linalg.norm((x - asked) / scales, axis=1))
        bags = self._bags(table)
        people = (bags.of(p) for p in table.frame[self.ground.person][rows])
        return np.array([np.linalg.norm((x - asked) / scales, axis=1).min() for x in people])

    def whom(self, given: Any) -> Bools:
        """(N,) the nearest people: as many as `neighbours`, or nobody where there are fewer. `given`: see `cuts.seen`.

        People at the same distance as the last are in it too: order decides nothing.
        """
        table = given if self.bags else _Frame(given)
        rows = self._rows(table)
        away = np.full(len(rows), np.inf)
        away[rows] = self._distances(table, rows)
        groups = np.asarray(table.frame[self.within].astype(str)) if self.within else np.zeros(len(rows))
        found = np.zeros(len(rows), dtype=bool)
        for group in np.unique(groups[rows]):
            here = rows & (groups == group)
            if here.sum() >= self.neighbours:
                found |= here & (away <= np.partition(away[here], self.neighbours - 1)[self.neighbours - 1])
        return found

    def selected(self, given: Any) -> Iterator[tuple[str, tuple[str, ...], Bools]]:
        """The same for the guards: the words, the columns that select, and who (N,) they are."""
        who = self.whom(given)
        yield from zip(self.selecting, (self.reads, ()), (who, who), strict=True)

    def design(self, people: People) -> Design:
        """The label of each of the people nearest to the question."""
        table = people.table
        known, near = self._rows(table), self.whom(table if self.bags else table.frame)
        unknown = "no picture or label" if self.bags else "no features or label"
        outside = {unknown: ~known, "not among the nearest": ~near}
        rows, left = followed(table, outside, self.ground)
        codes = TableRows(table.frame[rows], self.ground.schema, {}).codes(self.outcome)
        cells = {"labels": Cells(codes, (1, len(self.labels)), "hide")}
        columns = (*self.reads, *filter(None, [self.bags]))
        return Design(n=int(rows.sum()), rows=rows, columns=columns, cells=cells, left_out=left)

    def contributions(self, people: People, settled: tuple[bool, ...]) -> Array:
        """(N, numbers) who has each label that is told."""
        made = self.design(people)
        found = np.zeros((len(made.rows), len(settled)))
        found[made.rows] = made.cells["labels"].index[:, None] == np.arange(len(settled))
        return found[:, np.array(settled)]

    @local(on="design")
    def counted(self, people: People) -> Votes:
        """The nearest people by label, but for those hidden."""
        return Votes(people.cells("labels"))

    # sums only

    def settling(self) -> Flow[tuple[bool, ...]]:
        """Which labels will be told."""
        verdict = yield from support(self.design)
        return tuple(bool(told) for told in verdict.grids["labels"][0] >= 0)

    def flow(self) -> FlowFinding:
        """Settle which labels may be told; then count."""
        verdict = yield from support(self.design)
        if not verdict.n:
            raise ModelError(
                f"no hospital has {self.neighbours} people with '{self.outcome}' and what the question is compared "
                f"with; ask for fewer neighbours"
            )
        got = yield from ask(self.counted)
        told = verdict.grids["labels"][0]
        votes = [
            self._record(label, float(got.people.value[0, cell]) if cell >= 0 else None, verdict.n)
            for label, cell in zip(self.labels, told.tolist(), strict=True)
        ]
        tables = {"votes": votes, "attrition": attrition(verdict)}
        notes = () if (told >= 0).all() else (HIDDEN,)
        return Finding("similar_cases", verdict.n, verdict.hospitals, tables, notes=notes, cite=CITE)

    def _record(self, label: str, n: float | None, of: int) -> Record:
        if n is None:
            empty = dict.fromkeys(("n", "share", "conf_low", "conf_high"))
            return {"label": label, **empty, "suppressed": True}
        low, high = wilson(n, of, self.conf_level)
        return {"label": label, "n": round(n), "share": n / of, "conf_low": low, "conf_high": high}


def wilson(n: float, of: float, level: float) -> tuple[float, float]:
    """Wilson's limits of a share `n / of`."""
    z = float(norm_ppf(0.5 + level / 2))
    middle, reach = n + z**2 / 2, z * np.sqrt(n * (of - n) / of + z**2 / 4)
    return float(max(0.0, (middle - reach) / (of + z**2))), float(min(1.0, (middle + reach) / (of + z**2)))


class _Frame(NamedTuple):
    """Rows without bags, in the place of a table."""

    frame: Any
