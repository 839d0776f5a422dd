"""What Table 1 promises: the same for any deal of the people, nothing that rests on a few, clear errors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.analyses.describe import Describe
from confrere.analyses.described import Source, joined
from confrere.analyses.finding import Finding
from confrere.analyses.table_one import (
    Fineness,
    Histogram,
    Ladder,
    Levels,
    Numbers,
    cell_of,
    cells_of,
    ladder,
    quantile,
    smd_levels,
    smd_numbers,
    together,
)
from confrere.errors import DataError, ModelError, StudyError
from confrere.hospital.gate import Gate, Policy, Support, Violation, judge_clear, support_of
from confrere.rounds import Answer, Ask, Site, Verdict, added, clear, drive, step_of, supported
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema

LEVELS = {"arm": ("a", "b"), "stage": ("I", "II", "III"), "centre": ("x", "y", "z")}
GROUND = Ground(
    Schema({n: Column(n, v) for n, v in LEVELS.items()} | {"age": Column("age", range=(18.0, 100.0), unit="years")})
)
LOOSE = Policy(k=0, pairs=0, effective=0.0, effective_here=0.0, hospitals=1, share=1e9, parameters=1e9)
VARIABLES = ("age", "pgr", "ill", "loss", "stage")


class Table:
    """A hospital's table as analyses see it."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame.reset_index(drop=True)

    def nobody(self) -> Table:
        return Table(self.frame.iloc[:0])


def patients(n: int, seed: int = 1) -> pd.DataFrame:
    """Ages, a skewed marker with zeros, a mark, a loss that may be negative, stages; nothing missing."""
    rng = np.random.default_rng(seed)
    marker = np.where(rng.random(n) < 0.2, 0.0, np.exp(rng.normal(4, 1.2, n)))
    return pd.DataFrame(
        {
            "arm": pd.Categorical.from_codes(rng.integers(0, 2, n), ["a", "b"]),
            "age": np.clip(rng.normal(60, 12, n).round(), 18, 100),
            "pgr": marker.round(),
            "ill": (rng.random(n) < 0.3).astype(float),
            "loss": rng.normal(5, 10, n),
            "stage": pd.Categorical.from_codes(rng.integers(0, 3, n), ["I", "II", "III"]),
        }
    )


def dealt(frame: pd.DataFrame, hospitals: int = 3) -> list[pd.DataFrame]:
    return [frame.iloc[i::hospitals] for i in range(hospitals)]


def answers(frames: Sequence[pd.DataFrame], policy: Policy) -> Answer:
    return clear([Table(f) for f in frames], lambda designs: judge_clear(designs, policy))


def describe(frames: Sequence[pd.DataFrame], policy: Policy = LOOSE, **settings_: Any) -> Finding:
    analysis = Describe(**({"variables": VARIABLES, "by": "arm", "ground": GROUND} | settings_))
    found: Finding = drive(supported(analysis.flow()), answers(frames, policy))
    return found


def seen(frames: Sequence[pd.DataFrame], analysis: Describe, policy: Policy) -> tuple[Finding, list[tuple[Ask, Any]]]:
    """The finding, and every ask with its answer."""
    answer, log = answers(frames, policy), []

    def logged(asks: Any) -> Any:
        got = answer(asks)
        log.extend(zip(asks, got, strict=True))
        return got

    return drive(supported(analysis.flow()), logged), log


def row(finding: Finding, variable: str, group: str | None, level: str | None = None) -> dict[str, Any]:
    """A record of table1."""
    found = [r for r in finding.tables["table1"] if (r["variable"], r["group"], r["level"]) == (variable, group, level)]
    assert len(found) == 1
    return found[0]


def alike(one: Finding, other: Finding) -> None:
    """The same tables, numbers to 1e-9."""
    assert one.tables.keys() == other.tables.keys()
    for name in one.tables:
        assert len(one.tables[name]) == len(other.tables[name])
        for a, b in zip(one.tables[name], other.tables[name], strict=True):
            assert a.keys() == b.keys()
            for field in a:
                if isinstance(a[field], float):
                    assert a[field] == pytest.approx(b[field], rel=1e-9, abs=1e-9), (name, field)
                else:
                    assert a[field] == b[field], (name, field)


# --- laws ---


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_any_deal_of_the_people_gives_the_same(seed: int, hospitals: int) -> None:
    rng = np.random.default_rng(seed)
    frame = patients(90, seed)
    frame.loc[rng.random(90) < 0.15, "pgr"] = np.nan
    to = rng.integers(0, hospitals + 1, 90)
    parts = [frame[to == h].sample(frac=1, random_state=seed) for h in rng.permutation(hospitals + 1)]
    alike(describe([frame]), describe([*parts, frame[:0]]))


def test_a_loss_of_thresholds_is_the_only_difference_to_pandas() -> None:
    frame = patients(200)
    finding = describe(dealt(frame))
    for name in ("age", "pgr", "ill", "loss"):
        for group, rows in (("a", frame[frame["arm"] == "a"]), ("b", frame[frame["arm"] == "b"]), (None, frame)):
            record, values = row(finding, name, group), rows[name]
            assert record["mean"] == pytest.approx(values.mean(), rel=1e-12)
            assert record["std_dev"] == pytest.approx(values.std(), rel=1e-12)
            for field, share in (("q25", 0.25), ("median", 0.5), ("q75", 0.75)):
                assert abs(record[field] - values.quantile(share)) <= record["resolution"] + 1e-9


def test_no_number_is_missing_in_disguise() -> None:
    finding = describe(dealt(patients(300)), Policy())
    for records in finding.tables.values():
        for record in records:
            assert all(not isinstance(v, float) or np.isfinite(v) for v in record.values())
            assert all(v is None or type(v) in (str, int, float, bool) for v in record.values())


def test_marks_have_exact_quantiles_from_their_mean_alone() -> None:
    finding, log = seen(dealt(patients(300)), Describe(("ill",), "arm", ground=GROUND), Policy())
    assert row(finding, "ill", "a")["median"] == 0.0
    assert row(finding, "ill", "a")["resolution"] == 0.0
    assert "bins" not in [a.step for a, _ in log]


def test_numeric_groups_and_no_groups() -> None:
    frame = patients(300).assign(arm=np.repeat([0.0, 2.0, np.nan], 100))
    ground = Ground()
    by = describe(dealt(frame), Policy(), variables=("loss",), ground=ground)
    assert [r["group"] for r in by.tables["table1"]] == ["0", "2", None]
    assert by.tables["attrition"][1] == {"step": "left out", "reason": "missing arm", "n": 100}
    alone = describe(dealt(frame), Policy(), variables=("loss",), by="", ground=ground)
    assert [r["group"] for r in alone.tables["table1"]] == [None]
    assert alone.n == 300


def test_three_groups_have_differences_of_all_pairs() -> None:
    frame = patients(300)
    frame["centre"] = pd.Categorical.from_codes(np.arange(300) // 3 % 3, ["x", "y", "z"])
    finding = describe(dealt(frame), Policy(), by="centre")
    pairs = [r for r in finding.tables["smd"] if r["variable"] == "age"]
    assert [(r["group_1"], r["group_2"]) for r in pairs] == [("x", "y"), ("x", "z"), ("y", "z")]
    assert row(finding, "age", "x")["smd"] == pytest.approx(np.mean([abs(r["smd"]) for r in pairs]))


def test_the_manifest_bounds_hold_what_leaves() -> None:
    frame = patients(400).assign(other=np.random.default_rng(3).gamma(1.0, 10.0, 400))
    analysis = Describe((*VARIABLES, "other"), "arm", ground=GROUND)
    _, log = seen(dealt(frame), analysis, LOOSE)
    for a, sums in log:
        if a.kind == "ask":
            assert step_of(a).repeats == 1
            for s in sums:
                assert len(s.bounds) == s.value.ndim == len(s.dims)
                assert all(size <= bound for size, bound in zip(s.value.shape, s.bounds, strict=True))


# --- nothing that rests on a few ---


def messy(seed: int, n: int = 450) -> pd.DataFrame:
    """Missing values of all kinds: a few, many, and of two variables in nearly the same people."""
    rng = np.random.default_rng(seed)
    frame = patients(n, seed)
    missed = rng.random(n) < 0.1
    frame.loc[missed, "pgr"] = np.nan
    frame.loc[missed ^ (rng.random(n) < 0.01), "loss"] = np.nan
    frame.loc[rng.random(n) < 0.01, "age"] = np.nan
    frame.loc[rng.random(n) < 0.04, "stage"] = np.nan
    frame.loc[rng.random(n) < 0.005, "arm"] = np.nan
    return frame


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("by", ["arm", ""])
def test_no_two_counts_differ_by_a_few_people(seed: int, by: str) -> None:
    """Of every two variables of a group, and of every one and the group: 0 or at least k people in one alone."""
    frames = dealt(messy(seed))
    finding, log = seen(frames, Describe(VARIABLES, by, ground=GROUND), Policy())
    table = next(a for a, _ in log if a.step == "table")
    made = [Source(VARIABLES, by, GROUND).people(f, *table.args).data for f in frames]
    group = np.concatenate([d.group for d in made])
    known = np.concatenate([~np.isnan(d.values) for d in made])
    known = np.column_stack([np.ones(len(known), dtype=bool), known])
    for i, j in itertools.combinations(range(known.shape[1]), 2):
        apart = np.bincount(group[known[:, i] != known[:, j]], minlength=2)
        assert not ((apart > 0) & (apart < 11)).any()
    groups = ("a", "b") if by else (None,)
    assert sum(finding_n(finding, g) for g in groups) == finding.n == len(group)


def finding_n(finding: Finding, group: str | None) -> int:
    record = row(finding, "ill", group)
    return int(record["n"] + record["missing"])


@pytest.mark.parametrize("seed", range(4))
def test_verdicts_of_probes_do_not_say_how_many_people(seed: int) -> None:
    """The number before and after people are left out would differ by a few."""
    finding, log = seen(dealt(messy(seed)), Describe(VARIABLES, "arm", ground=GROUND), Policy())
    said = {v.n for a, v in log if isinstance(v, Verdict)}
    assert said == {0, finding.n}
    assert {a.step for a, v in log if isinstance(v, Verdict) and v.n == 0} == {"span", "probe"}


def test_a_number_that_a_few_people_carry_is_hidden() -> None:
    frame = patients(300)
    frame["rare"] = (np.arange(300) % 60 == 0).astype(float)  # 5 people
    frame["nearly all"] = 1 - frame["rare"]
    frame["some"] = np.where(np.arange(300) % 60 == 0, 4.0, 7.0)  # 5 people are off the usual value
    frame["three"] = frame["ill"] + 2 * frame["rare"]  # x^2 - x tells of the few who are neither 0 nor 1
    finding = describe(dealt(frame), Policy(), variables=("age", "rare", "nearly all", "some", "three"), by="")
    assert row(finding, "age", None)["mean"] is not None
    for name in ("rare", "nearly all", "some", "three"):
        record = row(finding, name, None)
        assert record["suppressed"]
        assert record["n"] == 300
        assert [record[f] for f in ("mean", "std_dev", "median", "resolution")] == [None] * 4


def test_everybody_together_is_not_shown_where_a_group_is_hidden() -> None:
    frame = patients(300)
    few = (frame["arm"] == "b") & (np.cumsum(frame["arm"] == "b") <= 5)
    frame["mark"] = np.where(frame["arm"] == "a", frame["ill"], few.astype(float))
    finding = describe(dealt(frame), Policy(), variables=("age", "mark"))
    assert row(finding, "mark", "a")["mean"] is not None
    assert row(finding, "mark", "b")["mean"] is None
    assert {r["group"] for r in finding.tables["table1"] if r["variable"] == "mark"} == {"a", "b"}
    assert {r["group"] for r in finding.tables["table1"] if r["variable"] == "age"} == {"a", "b", None}


def test_of_two_variables_that_a_few_people_tell_apart_one_is_shown() -> None:
    frame = patients(300)
    frame["ill again"] = np.where(np.arange(300) % 60 == 0, 1 - frame["ill"], frame["ill"])
    finding = describe(dealt(frame), Policy(), variables=("ill", "ill again"), by="")
    assert row(finding, "ill", None)["mean"] is not None
    assert row(finding, "ill again", None)["mean"] is None


def test_levels_under_k_hide_with_the_next_smallest() -> None:
    frame = patients(300)
    stage = np.where(np.arange(300) % 60 == 0, 2, np.arange(300) % 2)
    frame["stage"] = pd.Categorical.from_codes(stage, ["I", "II", "III"])
    finding = describe(dealt(frame), Policy(), variables=("stage",), by="")
    shown = {r["level"]: r["n"] for r in finding.tables["table1"]}
    assert shown["III"] is None
    assert sorted(v is None for v in shown.values()) == [False, True, True]


def test_a_group_of_a_few_is_left_out_and_said() -> None:
    frame = patients(300)
    frame["centre"] = pd.Categorical.from_codes(np.where(np.arange(300) < 6, 2, np.arange(300) % 2), ["x", "y", "z"])
    finding = describe(dealt(frame), Policy(), by="centre")
    assert {r["group"] for r in finding.tables["table1"]} == {"x", "y", None}
    assert finding.n == 294
    assert any("not shown: z" in note for note in finding.notes)
    left = next(r for r in finding.tables["attrition"] if r["step"] == "left out")
    assert left == {"step": "left out", "reason": "in a group that is too small to show", "n": None, "suppressed": True}


def test_a_variable_known_of_a_few_is_hidden_with_its_count() -> None:
    frame = patients(300)
    frame.loc[np.arange(300) % 60 != 0, "loss"] = np.nan
    record = row(describe(dealt(frame), Policy(), variables=("age", "loss"), by=""), "loss", None)
    assert record["suppressed"]
    assert (record["n"], record["missing"], record["mean"]) == (None, None, None)


def test_one_person_who_carries_a_sum_is_refused() -> None:
    frame = patients(300)
    frame.loc[7, "pgr"] = 1e7
    with pytest.raises(Violation, match=r"'pgr, group .' has an effective number under 11"):
        describe(dealt(frame), Policy())


def test_a_small_study_leaves_numbers_for_others() -> None:
    """Ladders are shorter where people are few: 200 people and 6 columns allow 300 numbers."""
    analysis = Describe(VARIABLES, "arm", ground=GROUND)
    sites, gate = [Site(Table(f)) for f in dealt(patients(200))], Gate(Policy(), len(analysis.reads))

    def one(a: Ask) -> Any:
        if a.kind == "ask":
            parts = [s.run(a) for s in sites]
            gate.admit(a, parts[0], sites[0].people(a))
            return added(parts)
        made = [s.design(a) for s in sites]
        total = Support(*(np.sum([support_of(d)[i] for d in made], axis=0) for i in range(len(Support._fields))))
        verdict = gate.settle(a, made[0], total)
        for s in sites:
            s.settle(a, verdict)
        return verdict

    drive(supported(analysis.flow()), lambda asks: tuple(one(a) for a in asks))
    assert gate.spent <= 0.75 * 300


def test_blocks_join_first_with_what_is_required() -> None:
    def verdict(**few: bool) -> Verdict:
        grids = {k.replace("_", ":").lstrip("b"): np.array([[-1 if v else 0]]) for k, v in few.items()}
        return Verdict(0, 3, grids, (), 0, 11)

    assert joined(verdict(b0_1=False, b0_2=False, b1_2=False), (0, 1, 2)) == (0, 1, 2)
    assert joined(verdict(b0_1=False, b0_2=False, b1_2=True), (0, 1, 2)) == (0, 1, 1)
    assert joined(verdict(b0_1=True, b0_2=False, b1_2=True), (0, 1, 2)) == (0, 0, 1)
    assert joined(verdict(b1_2=True, b2_3=True, b1_3=False), (1, 2, 3)) == (1, 1, 1)


# --- bad input ---


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"variables": ()}, "name the columns to describe"),
        ({"variables": "age"}, "it is a list of columns"),
        ({"variables": ("age", "age")}, "'age' more than once"),
        ({"variables": ("age", "arm")}, "'arm' is both a variable and `by`"),
        ({"quantiles": (0.5, 1.0)}, "between 0 and 1"),
        ({"quantiles": (0.5, 0.5)}, "different shares"),
    ],
)
def test_wrong_settings(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Describe(**({"variables": ("age",), "by": "arm"} | changed))


def test_an_unknown_column_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(DataError, match="no column 'agee' in the table; did you mean 'age'"):
        describe(dealt(patients(60)), variables=("agee",))


def test_text_needs_levels() -> None:
    with pytest.raises(DataError, match="'town' holds text; a text column needs declared levels"):
        describe(dealt(patients(60).assign(town="Paris")), variables=("town",))
    with pytest.raises(DataError, match="'town' holds text"):
        describe(dealt(patients(60).assign(town="Paris")), variables=("age",), by="town")


def test_undeclared_groups_are_whole_numbers() -> None:
    with pytest.raises(DataError, match="'loss' makes groups but declares no levels"):
        describe(dealt(patients(60)), variables=("age",), by="loss")


def test_infinite_values_are_an_error() -> None:
    frame = patients(60)
    frame.loc[3, "pgr"] = np.inf
    with pytest.raises(DataError, match="'pgr' has 1 infinite"):
        describe([frame])


def test_a_variable_that_everybody_misses_is_an_error() -> None:
    with pytest.raises(ModelError, match="'pgr': missing for everybody"):
        describe(dealt(patients(60).assign(pgr=np.nan)))
    with pytest.raises(ModelError, match="'stage': missing for everybody"):
        describe(dealt(patients(60).assign(stage=pd.Categorical([None] * 60, ["I", "II", "III"]))))


def test_a_single_group_is_an_error() -> None:
    with pytest.raises(ModelError, match="has one group of enough people, 'a'"):
        describe(dealt(patients(60).assign(arm=pd.Categorical(["a"] * 60, ["a", "b"]))))


def test_a_constant_has_no_spread_and_no_difference() -> None:
    finding = describe(dealt(patients(90).assign(loss=1988.1)), Policy(), variables=("age", "loss"))
    for group in ("a", "b", None):
        record = row(finding, "loss", group)
        assert (record["std_dev"], record["resolution"], record["smd"]) == (0.0, 0.0, None)
        assert record["median"] == pytest.approx(1988.1, rel=1e-12)


def test_an_empty_group_of_a_variable_has_no_numbers() -> None:
    frame = patients(200)
    frame.loc[frame["arm"] == "b", "loss"] = np.nan
    finding = describe(dealt(frame), Policy())
    record = row(finding, "loss", "b")
    assert (record["n"], record["mean"], record["std_dev"], record["median"]) == (0, None, None, None)
    assert "suppressed" not in record
    assert row(finding, "loss", None)["mean"] == pytest.approx(frame["loss"].mean(), rel=1e-12)
    assert row(finding, "loss", "a")["smd"] is None


# --- quantiles within cells: a slow obvious twin ---


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-50, 50).map(lambda v: round(v, 1)), min_size=1, max_size=60),
    st.lists(st.floats(-60, 60).map(lambda v: round(v, 1)), max_size=8, unique=True),
    st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.99]),
    st.integers(1, 3),
)
def test_quantiles_are_as_near_as_they_say(values: list[float], edges: list[float], p: float, step: int) -> None:
    x = np.array(values)
    lad = Ladder(0, tuple(sorted(edges)), (step,), None, None)
    cell = cell_of(x, np.full(x.size, step), lad)
    counts = np.bincount(cell, minlength=len(edges) + 1).astype(float)
    histogram = Histogram(lad, np.arange(len(edges) + 1), counts, step)
    numbers = Numbers(float(x.size), float(x.mean()), float(((x - x.mean()) ** 2).sum()), histogram)
    got = quantile(numbers, p)
    assert got is not None
    assert abs(got[0] - np.quantile(x, p)) <= got[1] + 1e-9


def test_groups_on_other_grids_add_up_where_their_cells_meet() -> None:
    lad = Ladder(0, (1.0, 2.0, 3.0, 4.0), (1, 1), 0.0, 9.0)
    one = Histogram(lad, np.array([0, 1, 1, 2, 2]), np.array([5.0, 6.0, 7.0]), 1)
    two = Histogram(lad, np.array([0, 0, 0, 1, 1]), np.array([0.0, 8.0]), 1)
    counts, edges = cells_of([one, two])
    assert edges.tolist() == [0.0, 1.0, 3.0, 9.0]  # nobody of the second is below 3, so 1 is known of it as well
    assert counts.tolist() == [5.0, 6.0, 15.0]


def test_ladders_are_public_and_round() -> None:
    rows = [Numbers(1000.0, 50.0, 100_000.0), Numbers(100.0, 52.0, 12_000.0)]
    normal = ladder(0, rows, True, None, Fineness(22, 40))
    assert len(normal.edges) == 39
    assert normal.steps == (1, 10)
    assert all(round(e, 2) == e for e in normal.edges)
    skewed = ladder(0, [Numbers(1000.0, 50.0, 1e7)], True, None, Fineness(22, 40))
    assert skewed.edges[0] == 0.0
    assert min(ladder(0, [Numbers(1000.0, 50.0, 1e7)], False, None, Fineness(22, 40)).edges) < 0
    assert all(18 < e < 60 for e in ladder(0, rows, True, (18.0, 60.0), Fineness(22, 40)).edges)


# --- differences ---


def test_differences_that_do_not_exist_are_none() -> None:
    one, other = Numbers(20.0, 1.0, 0.0), Numbers(20.0, 2.0, 0.0)
    assert smd_numbers(one, other) is None
    assert smd_numbers(Numbers(1.0, 1.0, 0.0), Numbers(20.0, 2.0, 5.0)) is None
    names = ("I", "II", "III")
    assert smd_levels(Levels(names, (10.0, 0.0, 0.0)), Levels(names, (0.0, 10.0, 0.0))) is None
    assert smd_levels(Levels(names, (10.0, np.nan, np.nan)), Levels(names, (5.0, 10.0, 0.0))) is None
    assert smd_levels(Levels(names, (10.0, 0.0, 0.0)), Levels(names, (5.0, 0.0, 0.0))) == 0.0
    full = smd_levels(Levels(("I", "II"), (10.0, 30.0)), Levels(("I", "II"), (20.0, 20.0)))
    absent = smd_levels(Levels(names, (10.0, 0.0, 30.0)), Levels(names, (20.0, 0.0, 20.0)))
    assert full == pytest.approx(absent)


def test_everybody_is_the_sum_of_the_groups() -> None:
    x = np.random.default_rng(2).normal(3, 2, 50)
    parts = [x[:20], x[20:]]
    whole = together([Numbers(float(p.size), float(p.mean()), float(((p - p.mean()) ** 2).sum())) for p in parts])
    assert (whole.mean, whole.sd) == pytest.approx((x.mean(), x.std(ddof=1)), rel=1e-12)


# --- whole numbers ---


def test_quantiles_of_whole_numbers_are_whole_numbers_within_their_cells() -> None:
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"count": rng.poisson(2, 900).astype(float), "size": rng.normal(2, 1, 900)})
    found = describe(dealt(data), Policy(), variables=("count", "size"), by="", ground=Ground())
    for share, name in ((0.25, "q25"), (0.5, "median"), (0.75, "q75")):
        counted, sized = row(found, "count", None), row(found, "size", None)
        assert counted[name] == round(counted[name])
        assert abs(counted[name] - np.quantile(data["count"], share)) <= counted["resolution"] < 3
        assert sized[name] != round(sized[name])


def test_marks_say_how_many_are_one() -> None:
    data = pd.DataFrame({"mark": (np.arange(300) % 3 == 0).astype(float), "count": np.arange(300.0)})
    found = describe(dealt(data), variables=("mark", "count"), by="", ground=Ground())
    assert row(found, "mark", None)["percent"] == pytest.approx(100 / 3)
    assert "percent" not in row(found, "count", None)
