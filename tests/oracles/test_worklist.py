"""The funnel and the lists against R's three-valued logic on real data, and against a case worked out on paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import WORKLIST

from confrere.analyses.worklist import Screening
from confrere.hospital.gate import judge_clear
from confrere.rounds import Ask, People, Site
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.study.worklist import Worklist
from federate import GATE, LOOSE, demo, fit, oracle, table, typed

LUNG = Ground(Schema({"ph.ecog": Column("ph.ecog", ("0", "1", "2", "3"))}), person="row")
R = oracle("worklist")["funnel"]
CRITERIA = tuple(
    text.replace("|", "or").replace("&", "and").replace("!(", "not (") for text in R["criteria"]
)  # the same words in our language


def counts(records: Sequence[dict[str, Any]]) -> list[int | None]:
    """The column n of a funnel."""
    return [record["n"] for record in records]


def kept(analysis: Screening, frame: pd.DataFrame) -> Worklist:
    """What one hospital keeps."""
    site = Site(table(frame))
    design = site.design(Ask(analysis, "design", (), "support"))
    site.settle(Ask(analysis, "design", (), "support"), judge_clear([design], LOOSE))
    assert site.run(Ask(analysis, "listed", (), "keep")) is None
    found = site.kept["worklist", "listed"]
    assert isinstance(found, Worklist)
    return found


def lung() -> pd.DataFrame:
    """All 228 rows, numbered from 1 as in R."""
    frame = demo("lung").assign(row=lambda f: np.arange(1, len(f) + 1).astype(str))
    frame["ph.ecog"] = frame["ph.ecog"].map(lambda v: None if pd.isna(v) else str(int(v)))
    people = frame.pop("row")
    return typed(frame, LUNG.schema).assign(row=people)


@pytest.mark.parametrize("hospitals", [1, 3, 4])
def test_the_funnel_is_that_of_r(hospitals: int) -> None:
    frame = lung()
    frames = [frame[np.arange(len(frame)) % hospitals == i] for i in range(hospitals)]
    found = fit(Screening("Old", CRITERIA, ground=LUNG), frames, LOOSE)
    assert counts(found.tables["funnel"]) == [R["screened"], *R["not_ruled_out"], R["meet_all"]]
    assert [r["criterion"] for r in found.tables["funnel"]] == ["", *CRITERIA, ""]


def test_the_list_is_that_of_r() -> None:
    """Who is listed, and of whom which criterion is unknown."""
    found = kept(Screening("Old", CRITERIA, ground=LUNG), lung())
    unknown = {
        row: [a == "unknown" for a in answers] for row, answers in zip(found.rows["row"], found.answers, strict=True)
    }
    assert unknown == {str(row): [bool(u) for u in marks] for row, marks in zip(R["listed"], R["unknown"], strict=True)}


def test_under_the_gate_what_is_told_is_the_same_and_what_is_not_is_null() -> None:
    """4 of R's steps differ by at least 11 people; of the list fewer than 11 are to be checked."""
    frame = lung()
    found = fit(Screening("Old", CRITERIA, ground=LUNG), [frame[i::3] for i in range(3)], GATE)
    *told, last = found.tables["funnel"]
    assert counts(told) == [R["screened"], *R["not_ruled_out"]]
    assert last == {"step": "meet all criteria", "criterion": "", "n": None, "suppressed": True}
    assert 0 < R["not_ruled_out"][-1] - R["meet_all"] < 11


def by_hand() -> tuple[Screening, pd.DataFrame]:
    """The eight people on paper."""
    ground = Ground(Schema({"grade": Column("grade", ("2", "3"))}), person="pid")
    frame = pd.DataFrame(WORKLIST["data"])
    people = frame.pop("pid")
    return Screening("By hand", WORKLIST["criteria"], order_by="age", ground=ground), typed(
        frame, ground.schema
    ).assign(pid=people)


def test_the_case_by_hand() -> None:
    analysis, frame = by_hand()
    found = fit(analysis, [frame[:3], frame[3:4], frame[4:]], LOOSE)
    assert counts(found.tables["funnel"]) == WORKLIST["n"]
    assert found.n == 8


def test_the_list_by_hand_in_its_order() -> None:
    """By age, and whose age is missing last."""
    analysis, frame = by_hand()
    found = kept(analysis, frame.sample(frac=1, random_state=3))
    assert dict(zip(found.rows["pid"], found.answers, strict=True)) == WORKLIST["listed"]
    assert "".join(found.rows["pid"]) == "abcgd"
    assert list(found.rows.columns) == ["pid", "age", "grade", "nodes"]


def test_a_step_that_keeps_gives_the_flow_nothing() -> None:
    """Only the table leaves: what the flow gets of the list is None."""
    analysis, frame = by_hand()
    assert People(table(frame)).kept == {}
    flow = analysis.flow()
    next(flow)
    site = Site(table(frame))
    verdict = judge_clear([site.design(Ask(analysis, "design", (), "support"))], LOOSE)
    asked = flow.send((verdict,))
    assert [(a.step, a.kind) for a in asked] == [("counted", "ask"), ("listed", "keep")]
