"""Table 1 against R on real data, and against a case worked out on paper."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import DESCRIBE

from confrere.analyses.describe import Describe
from confrere.analyses.finding import Finding
from confrere.hospital.gate import Policy, judge_clear
from confrere.rounds import clear, drive, supported
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema

HERE = Path(__file__).parent
DEMOS = HERE.parent.parent / "src" / "confrere" / "demos"
LEVELS = {
    "size": ("<=20", "20-50", ">50"), "hormon": ("0", "1"), "grade": ("2", "3"), "meno_level": ("0", "1"),
    "sex": ("1", "2"), "ph.ecog": ("0", "1", "2", "3"), "group": ("a", "b"), "stage": ("I", "II", "III"),
    "hospital": ("delft", "dordrecht", "gouda", "rotterdam"),
}  # fmt: skip
GROUND = Ground(Schema({name: Column(name, levels) for name, levels in LEVELS.items()}))
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
FIELDS = {0.05: "q5", 0.25: "q25", 0.5: "median", 0.75: "q75", 0.95: "q95"}
LOOSE = Policy(k=0, pairs=0, effective=0.0, effective_here=0.0, hospitals=1, share=1e9, parameters=1e9)

TABLES = ("breast_by_hormon", "breast_by_size", "breast_by_hospital", "lung_by_sex")  # in describe.json


class Table:
    """A hospital's table as analyses see it."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame.reset_index(drop=True)

    def nobody(self) -> Table:
        return Table(self.frame.iloc[:0])


def describe(analysis: Describe, frames: Sequence[pd.DataFrame], policy: Policy = LOOSE) -> Finding:
    """Drive it in the clear."""
    answer = clear([Table(f) for f in frames], lambda designs: judge_clear(designs, policy))
    found: Finding = drive(supported(analysis.flow()), answer)
    return found


def hospitals(name: str) -> list[pd.DataFrame]:
    """A demo table, dealt to its hospitals; lung to four in turn."""
    frame = pd.read_csv(DEMOS / f"{name}.csv")
    if name == "lung":
        return [frame[np.arange(len(frame)) % 4 == i] for i in range(4)]
    frame["meno_level"] = frame["meno"]
    return [part for _, part in frame.groupby("hospital")]


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    return dict(json.loads((HERE / "describe.json").read_text()))


@pytest.fixture(scope="module", params=TABLES)
def table(request: pytest.FixtureRequest, oracle: dict[str, Any]) -> tuple[Finding, dict[str, Any]]:
    """A finding, and what R says."""
    said = oracle[request.param]
    analysis = Describe(variables(said), said["by"], SHARES, GROUND)
    return describe(analysis, hospitals(request.param.partition("_")[0])), said


def variables(said: dict[str, Any]) -> tuple[str, ...]:
    """What R described."""
    return tuple(name for name in said["overall"] if name != "people")


def of(said: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """What R says of the variable and group of a record; `group` is None for everybody."""
    group = said["overall"] if record["group"] is None else said["groups"][record["group"]]
    return dict(group[record["variable"]])


def records(table: tuple[Finding, dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    finding, said = table
    return [(r, of(said, r)) for r in finding.tables["table1"]]


def test_all_of_the_table_is_there(table: tuple[Finding, dict[str, Any]]) -> None:
    finding, said = table
    shown = {(r["variable"], r["group"]) for r in finding.tables["table1"]}
    assert shown == {(v, g) for v in variables(said) for g in (*said["groups"], None)}
    assert finding.n == said["overall"]["people"]


def test_people_are_counted_exactly(table: tuple[Finding, dict[str, Any]]) -> None:
    for record, r in records(table):
        assert record["missing"] == r["missing"]
        if record["level"] is None:
            assert record["n"] == r["n"]
        else:
            assert record["n"] == r["counts"][record["level"]]
            assert record["percent"] == pytest.approx(100 * r["proportions"][record["level"]], rel=1e-12)


def test_mean_and_sd_are_those_of_r(table: tuple[Finding, dict[str, Any]]) -> None:
    for record, r in records(table):
        if record["level"] is None:
            assert record["mean"] == pytest.approx(r["mean"], rel=1e-10)
            assert record["std_dev"] == pytest.approx(r["sd"], rel=1e-10)


def test_quantiles_are_within_the_stated_resolution(table: tuple[Finding, dict[str, Any]]) -> None:
    for record, r in records(table):
        if record["level"] is None:
            for share, field in FIELDS.items():
                assert abs(record[field] - r["quantiles"][str(share)]) <= record["resolution"] + 1e-9, record


def test_differences_are_those_of_r(table: tuple[Finding, dict[str, Any]]) -> None:
    finding, said = table
    pairs = finding.tables.get("smd", [])
    for variable, expected in said["smd"].items():
        one = next(r["smd"] for r in finding.tables["table1"] if r["variable"] == variable)
        if len(expected) == 1:
            assert one == pytest.approx(expected[0], abs=1e-10)
            continue
        of_pairs = [r for r in pairs if r["variable"] == variable]
        assert [[r["group_1"], r["group_2"]] for r in of_pairs] == said["pairs"]
        assert [r["smd"] for r in of_pairs] == pytest.approx(expected, abs=1e-10)
        assert one == pytest.approx(np.mean(np.abs(expected)), abs=1e-10)


def test_thresholds_leave_what_rests_on_enough_people_as_it_is(oracle: dict[str, Any]) -> None:
    """Under the default policy, nothing of this table is hidden: the same counts, means and differences."""
    said = oracle["breast_by_hormon"]
    names = ("age", "meno", "size", "grade", "nodes", "pgr", "er", "chemo")
    finding = describe(Describe(names, "hormon", ground=GROUND), hospitals("breast"), Policy())
    for record in finding.tables["table1"]:
        r = of(said, record)
        if record["level"] is not None:
            assert record["n"] == r["counts"][record["level"]]
            continue
        assert record["std_dev"] == pytest.approx(r["sd"], rel=1e-10)
        for share, field in ((0.25, "q25"), (0.5, "median"), (0.75, "q75")):
            off = abs(record[field] - r["quantiles"][str(share)])
            assert off <= record["resolution"] + 1e-9
            assert off <= 0.2 * r["sd"]  # what interpolation is worth beyond the promise


def test_what_a_few_people_miss_is_required_of_everybody() -> None:
    """Lung: 1, 1 and 3 people miss a performance score, 10 men and 4 women their weight loss; 47 their meals."""
    names = ("age", "ph.karno", "pat.karno", "meal.cal", "wt.loss", "time", "ph.ecog")
    finding = describe(Describe(names, "sex", ground=GROUND), hospitals("lung"), Policy())
    pooled = pd.concat(hospitals("lung"))
    rows = pooled.dropna(subset=["ph.karno", "pat.karno", "wt.loss", "ph.ecog"])
    assert finding.n == len(rows) == 210
    for record in finding.tables["table1"]:
        if record["level"] is None:
            mine = rows if record["group"] is None else rows[rows["sex"] == int(record["group"])]
            values = mine[record["variable"]]
            assert (record["n"], record["missing"]) == (values.notna().sum(), values.isna().sum())
            assert record["mean"] == pytest.approx(values.mean(), rel=1e-12)
    scores = [r for r in finding.tables["table1"] if r["variable"] == "ph.ecog"]
    hidden = {(r["group"], r["level"]) for r in scores if r.get("suppressed")}
    assert hidden == {("1", "2"), ("1", "3")}  # one man has score 3; the next smallest level hides him
    assert not [r for r in scores if r["group"] is None]  # everybody together would tell


def test_by_hand() -> None:
    frame = pd.DataFrame(DESCRIBE["data"])
    analysis = Describe(("value", "stage"), DESCRIBE["by"], ground=GROUND)
    finding = describe(analysis, [frame[::2], frame[1::2], frame[:0]])
    table = finding.tables["table1"]
    for group, hand in (*DESCRIBE["groups"].items(), (None, DESCRIBE["overall"])):
        value = next(r for r in table if r["variable"] == "value" and r["group"] == group)
        assert (value["n"], value["missing"]) == (hand["n"], hand["missing"])
        assert value["mean"] == pytest.approx(hand["mean"], rel=1e-12)
        if group is None:
            continue
        assert value["std_dev"] == pytest.approx(hand["sd"], rel=1e-12)
        for share, quantile in hand["quantiles"].items():
            assert abs(value[FIELDS[share]] - quantile) <= value["resolution"] + 1e-12
        levels = {r["level"]: r["n"] for r in table if r["variable"] == "stage" and r["group"] == group}
        assert levels == hand["stage"]
    for name, smd in DESCRIBE["smd"].items():
        assert next(r["smd"] for r in table if r["variable"] == name) == pytest.approx(smd, rel=1e-12)
