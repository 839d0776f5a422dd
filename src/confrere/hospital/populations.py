"""Whom the analyses of a study are about at this hospital, and what selects these people.

**A cohort** is the people of one analysis: complete in the columns that it needs, of positive case weight. Columns
which it reads without needing everybody to have them (a description; what is imputed) make cohorts of their own.
Terms select nobody: where an expression does not exist for a person, that is an error.

**What a definition is.** The table, its dated cut, the columns that may select people, whether case weights of 0 do.
A column that nobody in this hospital's table misses cannot select people, and is no part of it; else the second study
of a table without gaps would always be refused. What a refusal can still tell by this is whether anybody at all
misses a column: one fact of a table and its cut, the same for every study. No choice of analyses can aim it at a
person, and attrition tells as much (0, or at least k). Columns that anybody misses count, however few do.

**Not settled yet.** Analyses of one study that are 1 to k-1 people apart in the network are made equal there
(`study.cohorts.agreed`). Where two are fewer than k people apart here, it is open which people will be answered for.
Their definitions then belong to their study alone: no later study can claim that it asks the same again.

**Cuts in formulas**, `I(age > 60)`, are sets of people too: who wrote 60 and then 61 would know who is 60. So are their
products, `I((age > 60) * (nodes != 7))`, whichever columns they read, and the criteria of worklists. They are a family
of their own with all cuts of the table, on everybody whose columns are known. Cuts of one study are held against each
other over the network (`study.cuts`).

Fewer than k people take part with nothing (the gate's rule): such a cohort is nobody. Under a class that asks for more,
such as 4 k, those between take part with nothing either; but a study without the class would have them, and the
difference would be this hospital alone. So their cohort is one that was asked without this hospital.

**Bags of images.** Who has a picture selects people as a column with gaps does. What is in the bags is a cut of its
own: with one picture more, of whom it may be, they are other bags of the same people, and these are a family.

**Who is held out** is no part of it: it is drawn anew in each study, by a key that all hospitals make for it
(tests/attacks/test_held_out.py). Two draws differ by people by the score, also where two shares are alike.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from confrere.data.table import Table
from confrere.errors import DataError
from confrere.hospital.classes import enough
from confrere.rounds import Analysis, Bools
from confrere.study.cohorts import needed, reads
from confrere.study.cuts import cuts_of, models_of, seen, selects, standing
from confrere.study.file import Spec, Study
from confrere.study.formulas import Model
from confrere.study.ground import LEFT, complete
from confrere.study.omop import BASICS, PERSON, Omop

Texts = NDArray[np.object_]
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, eq=False)
class Cohort:
    """Some people of one analysis at this hospital. Stays in the hospital.

    analysis    its name in the study; for a column or a cut also that
    definition  what selects these people: public words alone, no value of a patient
    family      cohorts are combined with those of their family: "" for people of analyses, else the cuts of a table
    hospitals   who is asked, sorted
    cut         the dated cut of the table
    who, rows   (N,) texts of the persons, or of their places in the table; (N,) which of them
    """

    analysis: str
    definition: str
    family: str
    hospitals: tuple[str, ...]
    cut: str
    who: Texts = field(repr=False)
    rows: Bools = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """sha256 of the definition and the hospitals, 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps([self.definition, self.hospitals]).encode()).hexdigest()


class Here(NamedTuple):
    """Where a study is asked.

    hospital  this hospital's name: analyses of groups without it are not about its people
    members   names of the hospitals that take part; an analysis with a group is asked of that alone
    cut       which dated cut of the whole table this is: the same word for all studies that read it
    k         people behind every number: the stricter of the study's and the hospital's
    ids       (N,) texts, who the rows of the table are, by the column that the hospital's own settings name (a study
              could name another column, and would be compared with nothing); None for a row without. Rows without
              that were not read may be among them. () where the hospital names none: people are places then
    """

    hospital: str
    members: tuple[str, ...]
    cut: str
    k: int
    ids: Sequence[str | None] = ()


def cohorts_of(study: Study, built: Sequence[Analysis], table: Table, here: Here) -> list[Cohort]:
    """The cohorts of a study at this hospital, and the cuts that its formulas make.

    `table` is this hospital's, as `sources.read` gave it for the study.
    Raises DataError where a cut in a formula does not exist for somebody, or nothing tells who the rows are.
    """
    who, found = _who(study, table, here), list[Cohort]()
    for spec, analysis in zip(study.analyses, built, strict=True):
        hospitals = tuple(sorted(set(spec.group or here.members)))
        if here.hospital not in hospitals:
            continue
        made = [*_complete(spec.name, analysis, table, here.k), *_imaged(spec.name, analysis, table)]
        made += _learned(study, spec.name, analysis, made[0][-1])
        n, share = int(np.count_nonzero(made[0][-1])), getattr(analysis, "share", 0.0) * (spec.method == "network")
        # who trains is drawn later: at the worst
        if n and n * (1 - share) - 5 * math.sqrt(n * share * (1 - share)) < enough(here.k, study.allow):
            hospitals = tuple(name for name in hospitals if name != here.hospital)  # it takes part with nobody
        for name, about, family, rows in (*made, *_cuts(study, spec, analysis, table, here.k)):
            said = {**_meant(about, study.omop), "table": study.table, "cut": here.cut}
            definition = json.dumps(said, sort_keys=True)
            found.append(Cohort(name, definition, family, hospitals, here.cut, who, rows))
    return _unsettled(study, found, here.k)


def _who(study: Study, table: Table, here: Here) -> Texts:
    """Persons are the same in every table; places in a table are its own."""
    n = len(table.frame)
    ids = here.ids if len(here.ids) == n else [i for i in here.ids if i is not None]
    if not here.ids and not any(table.left_out.values()):
        ids = [None] * n
    if len(ids) != n:
        raise DataError(
            f"{table.source}: {sum(table.left_out.values())} rows were left out, and nothing tells who the {n} others "
            f"are; name the column of person ids in hospital.toml, [tables] {study.table} = "
            '{path = "...", person = "COLUMN"}, and have the study name the same column or none'
        )
    return np.array([f"\0{study.table}\0{row}" if i is None else i for row, i in enumerate(ids)], dtype=object)


Made = tuple[str, Mapping[str, object], str, Bools]  # name, definition, family, rows


def _complete(name: str, analysis: Any, table: Table, k: int) -> Iterator[Made]:
    """The people of an analysis, and who of them has each column that not everybody needs to have."""
    weights = getattr(analysis, "weights", "")
    base = {*needed(analysis), *analysis.ground.complete}
    extra = sorted(set(reads(analysis)) - base)
    known = _pictured(analysis, table)
    bags = {} if known.all() else {"bags": [analysis.bags]}
    for column in ("", *extra):
        columns = tuple(sorted(base | {column} - {""}))
        rows, about = complete(table.frame, columns) & known, {"columns": _gaps(table, columns), **bags}
        if weights and bool((table.frame[weights] == 0).any()):
            rows, about = rows & np.asarray(table.frame[weights] > 0), {**about, "weights": [weights]}
        few = rows.sum() < k
        yield f"{name}: {column}" if column else name, about, "", rows & (not few)


def _pictured(analysis: Any, table: Table) -> Bools:
    """Who (N,) has a row in the bags that an analysis reads; everybody where it reads none."""
    name = getattr(analysis, "bags", "")
    if not name:
        return np.ones(len(table.frame), dtype=bool)
    return table.bags[name].known(table.frame[analysis.ground.person or PERSON])


def _imaged(name: str, analysis: Any, table: Table) -> Iterator[Made]:
    """Whom the bags of an analysis are of, and what is in them: with one picture more they are other bags."""
    if bags := getattr(analysis, "bags", ""):
        about = {"bags": [bags], "content": table.bags[bags].content}
        yield f"{name}: {bags}", about, f"bags {bags}", _pictured(analysis, table)


def _learned(study: Study, name: str, analysis: Any, rows: Bools) -> Iterator[Made]:
    """A learned model that people are given risks by: one made for it may give a single person another risk. Cells of
    risk end elsewhere of another outcome, or with other levels of it, and so with another baseline or thresholds."""
    if learnt := getattr(analysis, "learnt", ""):
        outcome = [analysis.outcome, analysis.cause, *(study.schema.levels(analysis.outcome) or ())]
        settings = [analysis.baseline, list(analysis.thresholds)]
        about = {"model": hashlib.sha256(str(learnt).encode()).hexdigest(), "outcome": outcome, "settings": settings}
        yield f"{name}: the learned model", about, f"cuts of learned models in {study.table}", rows


def _gaps(table: Table, columns: Sequence[str]) -> list[str]:
    """The columns that somebody misses, of those whom the study is about; and `LEFT` where it leaves somebody out."""
    frame = table.frame[complete(table.frame, (LEFT,))] if LEFT in columns else table.frame
    found = [name for name in columns if bool(frame[name].isna().any())]
    return [LEFT, *found] if len(frame) < len(table.frame) else found


def _meant(about: Mapping[str, object], omop: Omop | None) -> dict[str, object]:
    """A definition in which columns made of OMOP records stand with what they are made of: another study may make
    something else under the same name, or the same under another name."""
    if omop is None:
        return dict(about)
    columns = [omop.meaning(name) for name in cast(Sequence[str], about.get("columns", ()))]
    words = set(_WORD.findall(str(about.get("selects", "")))) & {*omop.columns, *BASICS}
    made = {**about, "means": {name: omop.meaning(name) for name in sorted(words)}} if words else dict(about)
    return {**made, "columns": columns} if "columns" in about else made


def _cuts(study: Study, spec: Spec, analysis: Any, table: Table, k: int) -> Iterator[Made]:
    """What the comparisons of an analysis select, alone and multiplied; and of whom: all whose columns are known."""
    family, own = f"cuts in {study.table}", {"study": study.hash}
    steps = _steps(analysis, table)
    # steps that few people tell apart may be told together: which, another study cannot know, nor ask again
    merged = any(0 < np.count_nonzero(one ^ after) < k for one, after in pairwise(steps.values()))
    for text, who in steps.items():  # of a worklist's criteria, on everybody
        about: dict[str, object] = {"selects": text, **(own if merged else {})} if text else {"columns": []}
        yield f"{spec.name}: {text or 'everybody'}", about, family, who
    for model in models_of(analysis):
        for cut, who in zip(cuts_of(model), selects(model, table.frame), strict=True):
            columns, text = sorted({c for part in cut.parts for c in part.sources()}), cut.text
            # a mean over the network is not known yet: whom such a cut selects is this study's own
            alone = own if any(inner in text for inner in model.pooled) else {}
            yield f"{spec.name}: {text}", {"selects": text, **alone}, family, who
            known = complete(table.frame, tuple(columns))
            yield f"{spec.name}: {', '.join(columns)}", {"columns": _gaps(table, columns)}, family, known
        for text, who in _bounds(study, model, table):
            yield f"{spec.name}: {text}", {"selects": text}, family, who


def _bounds(study: Study, model: Model, table: Table) -> Iterator[tuple[str, Bools]]:
    """Whom ranges clamp and reporting times divide: another range or time in another study is another cut.

    Raises DataError where the formula does not exist for somebody here: said at approval, it tells nobody outside.
    """
    found = model.evaluate(table.frame, standing(model, table.frame))
    for name in model.columns:
        column = study.schema.column(name)
        if column.range is not None and column.levels is None:
            low, high = map(float, column.range)  # all digits: other cuts have other words
            yield f"{name} <= {low!r}", np.asarray(table.frame[name] <= low)
            yield f"{name} >= {high!r}", np.asarray(table.frame[name] >= high)
    if found.time is not None and model.outcome is not None and model.outcome.time is not None:
        for time in study.ground.marks:
            yield f"{model.outcome.time.text} > {float(time)!r}", np.asarray(found.time > time)


def _steps(analysis: Any, table: Table) -> dict[str, Bools]:
    """Whom each step of a funnel counts, by the words that select them: "" for everybody; {} where there is none."""
    steps = list(analysis.selected(seen(analysis, table))) if hasattr(analysis, "selected") else []
    if not steps:
        return {}
    *ruled, (text, columns, met) = steps
    known = {} if _gaps(table, columns) == [] else {text: met}  # without gaps, whoever is not ruled out meets all
    return {"": np.ones(len(met), dtype=bool), **{words: who for words, _, who in ruled}, **known}


def _unsettled(study: Study, found: list[Cohort], k: int) -> list[Cohort]:
    """Cohorts of analyses that the network may yet make equal, by no more than k-1 people here, are their study's own.

    What is made equal is complete in the columns of all: their common people, who may then be near to another's.
    """
    groups = [([i], c.rows) for i, c in enumerate(found) if c.family == ""]
    while (pair := _near([rows for _, rows in groups], k)) is not None:
        (ones, rows), (others, more) = groups[pair[0]], groups.pop(pair[1])
        groups[pair[0]] = (ones + others, rows & more)
    own = {i for places, rows in groups if any((found[j].rows != rows).any() for j in places) for i in places}
    return [_owned(c, study) if i in own else c for i, c in enumerate(found)]


def _owned(cohort: Cohort, study: Study) -> Cohort:
    """The cohort under a definition that no other study has."""
    definition = {**json.loads(cohort.definition), "study": study.hash}
    return replace(cohort, definition=json.dumps(definition, sort_keys=True))


def _near(rows: Sequence[Bools], k: int) -> tuple[int, int] | None:
    """The first two that fewer than k people tell apart; the later place second."""
    for j, other in enumerate(rows):
        for i in range(j):
            if np.count_nonzero(rows[i] ^ other) < k:
                return i, j
    return None
