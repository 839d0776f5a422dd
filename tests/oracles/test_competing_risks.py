"""Competing risks against R on mgus2, against slow twins, any deal of the people, and cases by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from by_hand import AALEN_JOHANSEN, CAUSE_SPECIFIC, FINE_GRAY
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.analyses.competing_risks import CompetingRisks
from confrere.analyses.cox import Cox
from confrere.analyses.curves import Cellwise, survival
from confrere.analyses.finding import Finding
from confrere.analyses.fine_gray import subdistribution
from confrere.analyses.incidence import Cell, State, after, incidence
from confrere.analyses.kaplan_meier import KaplanMeier
from confrere.console.local import Local
from confrere.errors import DataError, FormulaError, ModelError, StudyError
from confrere.hospital.gate import Policy, Support, judge, support_of
from confrere.rounds import Array, Design, Verdict, clear, drive, supported
from confrere.study.ground import Ground, Rows
from confrere.study.schema import Column, Schema

HERE = Path(__file__).parent
MYELOMA = HERE.parent.parent / "src" / "confrere" / "demos" / "myeloma.csv"
LEVELS = ("censored", "progression", "death")
HOSPITALS = ("lacrosse", "mankato", "rochester")
SCHEMA = Schema({
    "sex": Column("sex", ("F", "M")), "event": Column("event", LEVELS), "deal": Column("deal", HOSPITALS),
})  # fmt: skip
GROUND = Ground(SCHEMA, unit="months", step=1, horizon=430)
FINE = Ground(SCHEMA, unit="months", step=1, horizon=430, fine=True)
EXACT = Policy(allow=frozenset(["fine_times"]))
LOOSE = Policy(
    k=0, pairs=0, effective=0, effective_here=0, hospitals=1, days=0, share=1e9, parameters=1e9, allow=EXACT.allow
)
TERMS = "Surv(etime, event) ~ age + male + mspike"
CAUSES = ("progression", "death")
TIES = [("efron", ""), ("breslow", "_breslow")]


class Table:
    """A hospital's table as analyses see it."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame.reset_index(drop=True)

    def nobody(self) -> Table:
        return Table(self.frame.iloc[:0])


def fit(analysis: Any, frames: Sequence[pd.DataFrame], policy: Policy = LOOSE) -> Finding:
    """Drive an analysis in the clear, with the gate's verdict on support."""

    def settle(designs: Sequence[Design]) -> Verdict:
        parts = [support_of(d) for d in designs]
        total = Support(*(np.sum([getattr(p, f) for p in parts], axis=0) for f in Support._fields))
        return judge(designs[0], total, policy)

    found: Finding = drive(supported(analysis.flow()), clear([Table(f) for f in frames], settle))
    return found


@pytest.fixture(scope="module")
def oracle() -> dict[str, Any]:
    return dict(json.loads((HERE / "competing_myeloma.json").read_text()))


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    return myeloma()


def myeloma() -> pd.DataFrame:
    """The demo table, its levels as categories, with R's coding of sex and a column of weights."""
    frame = pd.read_csv(MYELOMA)
    frame["male"], frame["w"] = (frame["sex"] == "M") * 1.0, 1 + (frame["id"] % 3) / 2
    frame["deal"] = frame["hospital"]
    for column in SCHEMA.columns.values():
        frame[column.name] = pd.Categorical(frame[column.name], column.levels)
    return frame


@pytest.fixture(scope="module")
def hospitals(people: pd.DataFrame) -> list[pd.DataFrame]:
    return [f for _, f in people.groupby("hospital")]


def values(table: dict[str, float]) -> Array:
    return np.array(list(table.values()))


def close(found: Finding, wanted: dict[str, Any], *, robust: bool = True) -> None:
    """Coefficients to 1e-10 standard errors, standard errors to 1e-8, log-likelihoods and robust Wald to 1e-9."""
    table, se = found.summary(), values(wanted["std_error"])
    assert np.abs((table["estimate"] - values(wanted["coef"])) / se).max() < 1e-10
    assert np.abs(table["std_error"] / se - 1).max() < 1e-8
    assert np.allclose(found.arrays["vcov"], wanted["vcov"], rtol=1e-7, atol=1e-14)
    assert found.facts["log_likelihood"] == pytest.approx(wanted["loglik"]["fitted"], rel=1e-11)
    assert found.facts["log_likelihood_null"] == pytest.approx(wanted["loglik"]["null"], rel=1e-11)
    assert (found.n, found.events) == (wanted["n"], wanted["events"])
    tests = {t["test"]: t["statistic"] for t in found.tables["tests"]}
    assert tests["likelihood ratio"] == pytest.approx(wanted["likelihood_ratio"], rel=1e-9)
    assert tests["Wald"] == pytest.approx(wanted["wald_test"], rel=1e-9)
    if robust:
        assert np.abs(table["robust_se"] / values(wanted["robust_std_error"]) - 1).max() < 1e-8
        assert tests["robust Wald"] == pytest.approx(wanted["robust_wald_test"], rel=1e-8)


# Cumulative incidence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "key"), [("sex", "by_sex"), ("1", "overall")])
@pytest.mark.parametrize(("conf_type", "limit"), [("log", "log"), ("log-log", "loglog")])
def test_incidence_is_rs(
    oracle: dict[str, Any], hospitals: list[pd.DataFrame], right: str, key: str, conf_type: str, limit: str
) -> None:
    analysis = CompetingRisks(f"Surv(etime, event) ~ {right}", times=(240, 60, 120), conf_type=conf_type, ground=FINE)
    found = fit(analysis, hospitals, EXACT)
    table = found.summary("at_times").set_index(["group", "cause"])
    for group, wanted in oracle[key].items():
        for cause in CAUSES:
            rows, r = table.loc[(group, cause)], wanted[cause]["at_times"]
            assert rows["time"].tolist() == r["time"]
            for ours, theirs in {
                "estimate": "estimate", "std_error": "std_error_jackknife",
                "conf_low": f"{limit}_low", "conf_high": f"{limit}_high",
            }.items():  # fmt: skip
                assert np.allclose(rows[ours], r[theirs], rtol=1e-12, atol=0), (group, cause, ours)


def test_incidence_table_is_rs(oracle: dict[str, Any], hospitals: list[pd.DataFrame]) -> None:
    found = fit(CompetingRisks("Surv(etime, event) ~ sex", ground=FINE), hospitals, EXACT)
    table = found.summary("incidence").set_index(["group", "cause"])
    assert (found.n, found.events, found.hospitals) == (1384, 975, 3)
    for group, wanted in oracle["by_sex"].items():
        for cause in CAUSES:
            rows, r, counts = table.loc[(group, cause)], wanted[cause]["table"], wanted["counts"]
            assert rows["time"].tolist() == r["time"] == counts["time"]
            assert rows["at_risk"].tolist() == counts["at_risk"]
            assert rows["events"].tolist() == counts[cause]
            assert np.allclose(rows["estimate"], r["estimate"], rtol=0, atol=1e-14)
            assert np.allclose(rows["std_error"], np.array(r["std_error_jackknife"], float), rtol=0, atol=1e-14)


def test_incidence_by_hand() -> None:
    frame = pd.DataFrame(AALEN_JOHANSEN["data"])
    levels = ("censored", "relapse", "death")
    frame["event"] = pd.Categorical(frame["event"], levels)
    ground = Ground(Schema({"event": Column("event", levels)}), step=1, fine=True)
    found = fit(CompetingRisks("Surv(time, event) ~ 1", times=(3.5,), ground=ground), [frame[:2], frame[2:]])
    table = found.summary("incidence").set_index("cause")
    for cause in ("relapse", "death"):
        rows = table.loc[cause].set_index("time").loc[AALEN_JOHANSEN["time"]]
        assert rows["estimate"].tolist() == pytest.approx(AALEN_JOHANSEN[cause], abs=1e-15)
    later = found.summary("at_times").set_index("cause")
    assert later.loc["relapse", "at_risk"] == 2
    # At 2 the death incidence is (4/5)(1/4) = 1/5 of five people: its variance is (1/5)(4/5)/5.
    assert later.loc["death", "std_error"] == pytest.approx((4 / 125) ** 0.5)


def delta_method(n: Array, events: Array, cause: int) -> tuple[Array, Array]:
    """Equation 10.12 of Marubini and Valsecchi written out, quadratic in time: incidence and variance."""
    d, dk = events.sum(axis=0), events[cause]
    before = np.concatenate([[1.0], np.cumprod(1 - d / n)[:-1]])
    f = np.cumsum(before * dk / n)
    variance = np.zeros(n.size)
    for i in range(n.size):
        m, gap = slice(0, i + 1), f[i] - f[: i + 1]
        some = np.where(n > d, d / (n * np.maximum(n - d, 1e-300)), 0.0)[m]
        spread = (before**2 * dk * (n - dk) / n**3)[m]
        variance[i] = (gap**2 * some).sum() + spread.sum() - 2 * (gap * (before * dk / n**2)[m]).sum()
    return f, variance


exits = st.lists(st.tuples(*[st.integers(0, 4)] * 4), min_size=1, max_size=12).filter(lambda e: sum(map(sum, e)) > 0)


@given(exits)
@settings(max_examples=60, deadline=None)
def test_propagated_variance_is_the_delta_method(counts: list[tuple[int, ...]]) -> None:
    table = np.array(counts, dtype=float).T
    out = table.sum(axis=0)
    table, out = table[:, out > 0], out[out > 0]
    n = np.cumsum(out[::-1])[::-1]
    edges = np.arange(n.size, dtype=float)
    cells = Cellwise(edges, edges + 1, n, table[:3], table[3], True, np.arange(n.size), np.arange(n.size))
    curve = incidence(cells)
    for cause in range(3):
        f, variance = delta_method(n, table[:3], cause)
        assert np.allclose([s.incidence[cause] for s in curve.states[1:]], f, atol=1e-13)
        assert np.allclose([s.variance[cause + 1, cause + 1] for s in curve.states[1:]], variance, atol=1e-13)


shares = st.floats(0.01, 0.99)
cells_of = st.builds(
    lambda n, d1, d2, c: Cell(n, np.array([d1, d2]) * n, c * n, False),
    st.floats(5, 1000), st.floats(0.001, 0.3), st.floats(0, 0.3), st.floats(0, 0.3),
)  # fmt: skip
START = State(0.8, np.array([0.15, 0.05]), np.diag([3e-4, 2e-4, 1e-4]))


@given(cells_of, shares)
@settings(max_examples=80, deadline=None)
def test_a_cell_cut_in_two_changes_nothing(cell: Cell, share: float) -> None:
    out = float(cell.events.sum()) + cell.censored
    first = Cell(cell.n, cell.events * share, cell.censored * share, False)
    second = Cell(cell.n - out * share, cell.events * (1 - share), cell.censored * (1 - share), False)
    whole, cut = after(START, cell), after(after(START, first), second)
    assert whole.free == pytest.approx(cut.free, rel=1e-12)
    assert np.allclose(whole.incidence, cut.incidence, rtol=1e-12)
    assert np.allclose(whole.variance, cut.variance, rtol=1e-9, atol=1e-16)
    assert whole.free + whole.incidence.sum() == pytest.approx(1.0)


@given(cells_of)
@settings(max_examples=60, deadline=None)
def test_without_censorings_cells_are_exact(cell: Cell) -> None:
    alone = cell._replace(censored=0.0)
    spread, exact = after(START, alone), after(START, alone._replace(exact=True))
    assert spread.free == pytest.approx(exact.free, rel=1e-12)
    assert np.allclose(spread.incidence, exact.incidence, rtol=1e-12)
    assert np.allclose(spread.variance, exact.variance, rtol=1e-9, atol=1e-16)


def test_spread_cells_are_the_limit_of_many_small_ones() -> None:
    """A cell's closed variance is the delta method on its events and censorings, one person's thousandth at a time."""
    cell = Cell(200.0, np.array([20.0, 35.0]), 60.0, False)
    state, n, parts = START, cell.n, 20000
    for _ in range(parts):
        state = after(state, Cell(n, cell.events / parts, 0.0, True))
        n -= (cell.events.sum() + cell.censored) / parts
    # An exact step of a fraction e of an event has variance e/n^2 - e^2/n^3: the limit of many is the integral.
    whole = after(START, cell)
    assert np.allclose(whole.incidence, state.incidence, rtol=1e-4)
    assert np.allclose(whole.variance, state.variance, rtol=1e-3)


def test_one_cause_is_kaplan_meier() -> None:
    """With one kind of event F is 1 - S, its variance Greenwood's, on cells with censorings too."""
    left, n = np.arange(4.0), np.array([100.0, 80.0, 55.0, 30.0])
    events, censored = np.array([[12.0, 15.0, 11.0, 6.0]]), np.array([8.0, 10.0, 14.0, 9.0])
    cells = Cellwise(left, left + 1, n, events, censored, False, np.arange(4), np.arange(4))
    curve, states = survival(cells), incidence(cells).states[1:]
    assert np.allclose([1 - s.incidence[0] for s in states], curve.survival, rtol=1e-13)
    assert np.allclose([s.variance[1, 1] for s in states], curve.survival**2 * curve.variance, rtol=1e-12)


@pytest.mark.parametrize("right", ["sex", "1"])
def test_the_ladder_agrees_with_exact_times(hospitals: list[pd.DataFrame], right: str) -> None:
    """At reporting times with enough events on both sides: within a quarter of a standard error."""
    formula, times = f"Surv(etime, event) ~ {right}", (60.0, 120.0)
    coarse = fit(CompetingRisks(formula, times=times, ground=GROUND), hospitals, Policy()).summary("at_times")
    exact = fit(CompetingRisks(formula, times=times, ground=FINE), hospitals, EXACT).summary("at_times")
    assert (np.abs(coarse["estimate"] - exact["estimate"]) / exact["std_error"]).max() < 0.25
    assert np.abs(coarse["std_error"] / exact["std_error"] - 1).max() < 0.02


def test_counts_on_the_ladder_rest_on_enough_people(hospitals: list[pd.DataFrame]) -> None:
    found = fit(CompetingRisks("Surv(etime, event) ~ sex", times=(60, 120, 240), ground=GROUND), hospitals, Policy())
    for record in (*found.tables["incidence"], *found.tables["at_times"]):
        assert record["estimate"] is not None
        for name in ("at_risk", "events"):
            assert record.get(name, 11) is None or record.get(name, 11) == 0 or record.get(name, 11) >= 11


def test_a_small_group_is_left_out(people: pd.DataFrame) -> None:
    few = pd.concat([people[people["sex"] == "F"], people[people["sex"] == "M"].head(7)])
    found = fit(CompetingRisks("Surv(etime, event) ~ sex", ground=GROUND), [few[i::3] for i in range(3)], Policy())
    assert [r["group"] for r in found.tables["suppressed"]] == ["M"]
    assert {r["group"] for r in found.tables["incidence"]} == {"F"}


def test_late_entry(people: pd.DataFrame) -> None:
    """Entering at 0 changes nothing; entering late leaves who left before out of the risk sets."""
    frame = people.assign(entry=0.0)
    late = CompetingRisks("Surv(entry, etime, event) ~ sex", times=(60, 120), ground=FINE)
    plain = CompetingRisks("Surv(etime, event) ~ sex", times=(60, 120), ground=FINE)
    a, b = fit(late, [frame]).summary("at_times"), fit(plain, [frame]).summary("at_times")
    assert np.allclose(a["estimate"], b["estimate"], rtol=1e-13)
    frame["entry"] = np.where(frame["id"] % 2 == 0, np.minimum(6.0, frame["etime"] / 2).round(), 0.0)
    at = frame[(frame["etime"] == 3) & (frame["event"] == "death")]
    at_risk = ((frame["entry"] < 3) & (frame["etime"] >= 3)).sum()
    rows = fit(CompetingRisks("Surv(entry, etime, event) ~ 1", ground=FINE), [frame]).summary("incidence")
    here = rows[(rows["time"] == 3) & (rows["cause"] == "death")].iloc[0]
    assert (here["events"], here["at_risk"]) == (len(at), at_risk)


# Cause-specific hazards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", CAUSES)
def test_cause_specific_by_hospital_is_rs(oracle: dict[str, Any], hospitals: list[pd.DataFrame], cause: str) -> None:
    analysis = CompetingRisks(TERMS, "cause-specific", cause, ground=GROUND)
    found, wanted = fit(analysis, hospitals, Policy()), oracle["cause_specific_by_hospital"][cause]
    close(found, wanted, robust=False)
    assert found.facts["concordance"] == pytest.approx(wanted["concordance"]["estimate"], rel=1e-12)
    zph = {(r["term"], r["transform"]): r["statistic"] for r in found.tables["proportional_hazards"]}
    for transform in ("identity", "log"):
        for term, statistic in wanted["zph"][transform]["columns"].items():
            assert zph[term, transform] == pytest.approx(statistic, rel=1e-8)


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize(("ties", "suffix"), TIES)
def test_cause_specific_shared_is_rs(
    oracle: dict[str, Any], hospitals: list[pd.DataFrame], cause: str, ties: str, suffix: str
) -> None:
    analysis = CompetingRisks(TERMS, "cause-specific", cause, ties=ties, baseline="shared", ground=FINE)
    close(fit(analysis, hospitals, EXACT), oracle[f"cause_specific{suffix}"][cause], robust=False)


def test_cause_specific_robust_is_rs(oracle: dict[str, Any], hospitals: list[pd.DataFrame]) -> None:
    """Weights of 1 change nothing but the variance, which is robust with weights."""
    frames = [f.assign(one=1.0) for f in hospitals]
    analysis = CompetingRisks(TERMS, "cause-specific", "death", weights="one", ground=GROUND)
    close(fit(analysis, frames, Policy()), oracle["cause_specific_by_hospital"]["death"])


def test_cox_with_a_cause_is_cox_of_that_event(hospitals: list[pd.DataFrame]) -> None:
    frames = [f.assign(died=(f["event"] == "death") * 1.0) for f in hospitals]
    one = fit(Cox(TERMS, cause="death", ground=GROUND), frames, Policy())
    other = fit(Cox("Surv(etime, died) ~ age + male + mspike", ground=GROUND), frames, Policy())
    assert one.tables["coefficients"] == other.tables["coefficients"]


# Fine and Gray ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize(("ties", "suffix"), TIES)
def test_fine_gray_by_hospital_is_rs(
    oracle: dict[str, Any], hospitals: list[pd.DataFrame], cause: str, ties: str, suffix: str
) -> None:
    """Default policy, times of the ladder: they never leave, so that the fit is exact all the same."""
    found = fit(CompetingRisks(TERMS, "fine-gray", cause, ties=ties, ground=GROUND), hospitals, Policy())
    wanted = oracle[f"fine_gray_by_hospital{suffix}"][cause]
    close(found, wanted)
    tests = {t["test"]: t["statistic"] for t in found.tables["tests"]}
    assert tests["score"] == pytest.approx(wanted["score_test"], rel=1e-9)
    assert "concordance" not in found.facts


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize(("ties", "suffix"), TIES)
def test_fine_gray_shared_is_rs(
    oracle: dict[str, Any], hospitals: list[pd.DataFrame], cause: str, ties: str, suffix: str
) -> None:
    analysis = CompetingRisks(TERMS, "fine-gray", cause, ties=ties, baseline="shared", ground=FINE)
    found = fit(analysis, hospitals, EXACT)
    close(found, oracle[f"fine_gray{suffix}"][cause])
    assert np.isfinite([r["cumulative_hazard"] for r in found.tables["baseline"]]).all()


# R 4.2.2, survival 3.5-3, on the 1,373 people with mspike: w <- 1 + (id %% 3)/2;
# coxph(Surv(fgstart, fgstop, fgstatus) ~ ..., long, weights = fgwt, cluster = id), eps = 1e-14, of
# (1) long <- finegray(Surv(etime, event) ~ age + male + mspike + id, etype = "progression", weights = w)
# (2) long <- finegray(... + strata(hospital, sex)); coxph(... ~ age + mspike + strata(hospital, sex))
# (3) cox.zph(transform = "identity", terms = FALSE) of finegray(... + strata(hospital)).
# (With strata and weights finegray of this version takes the weights of other rows; (1) has no strata.)
R_WEIGHTS = {
    "estimate": [-0.0157013044055177, -0.24679504660641, 0.92154053680103],
    "std_error": [0.0058203856417097, 0.15398401288271, 0.13020039332703],
    "robust_se": [0.0056756207252658, 0.19331080829077, 0.15984171709839],
}
R_STRATA = {
    "estimate": [-0.0155840071765435, 0.8630364509892025],
    "std_error": [0.0071128558047256, 0.1577255243417454],
    "robust_se": [0.0059637963038530, 0.1559953614626338],
}
R_ZPH = {"age": 19.83552285563783, "male": 0.00590193438913, "mspike": 0.09501806582311, "GLOBAL": 20.03917841630797}


@pytest.mark.parametrize("baseline", ["per hospital", "shared"])
def test_fine_gray_with_weights_is_rs(people: pd.DataFrame, baseline: str) -> None:
    analysis = CompetingRisks(TERMS, "fine-gray", "progression", weights="w", baseline=baseline, ground=FINE)
    table = fit(analysis, [people]).summary()
    for name, wanted in R_WEIGHTS.items():
        assert np.allclose(table[name], wanted, rtol=2e-9, atol=0), name


def test_fine_gray_with_strata_is_rs(hospitals: list[pd.DataFrame]) -> None:
    formula = "Surv(etime, event) ~ age + mspike + strata(sex)"
    table = fit(CompetingRisks(formula, "fine-gray", "progression", ground=GROUND), hospitals, Policy()).summary()
    for name, wanted in R_STRATA.items():
        assert np.allclose(table[name], wanted, rtol=2e-9, atol=0), name


def test_fine_gray_proportional_hazards_is_rs(hospitals: list[pd.DataFrame]) -> None:
    found = fit(CompetingRisks(TERMS, "fine-gray", "progression", ground=GROUND), hospitals, Policy())
    rows = {r["term"]: r["statistic"] for r in found.tables["proportional_hazards"] if r["transform"] == "identity"}
    assert rows == pytest.approx(R_ZPH, rel=1e-9)


@pytest.mark.parametrize(
    ("case", "model"), [(CAUSE_SPECIFIC, "cause-specific"), (FINE_GRAY, "fine-gray")], ids=lambda v: str(v)[:10]
)
@pytest.mark.parametrize("baseline", ["per hospital", "shared"])
def test_regressions_by_hand(case: dict[str, Any], model: str, baseline: str) -> None:
    levels = ("censored", "relapse", "death")
    frame = pd.DataFrame(case["data"])
    frame["event"] = pd.Categorical(frame["event"], levels)
    ground = Ground(Schema({"event": Column("event", levels)}), step=1, fine=True)
    found = fit(
        CompetingRisks("Surv(time, event) ~ x", model, case["cause"], baseline=baseline, ground=ground), [frame]
    )
    (row,) = found.tables["coefficients"]
    assert row["estimate"] == pytest.approx(case["coef"], rel=1e-9)
    assert row["std_error"] == pytest.approx(case["std_error"], rel=1e-7)
    if "loglik" in case:
        assert found.facts["log_likelihood"] == pytest.approx(case["loglik"], rel=1e-12)
        assert found.facts["log_likelihood_null"] == pytest.approx(case["loglik_null"], rel=1e-12)


person = st.tuples(st.integers(1, 8), st.integers(0, 2), st.integers(0, 2), st.sampled_from([0.5, 1.0, 2.0]))


def staying(rows: Rows, event: Array, i: int, low: float, high: float) -> float:
    """The probability of not being censored at low <= c < high in the stratum of i."""
    assert rows.time is not None
    assert rows.strata is not None
    mine, product = rows.strata == rows.strata[i], 1.0
    for c in np.unique(rows.time[mine & (event == 0)]):
        if low <= c < high:
            here = (rows.time == c) & (event == 0)
            product *= 1 - (mine & here).sum() / (mine & ((rows.time > c) | here)).sum()
    return product


def slow_weights(rows: Rows, competing: Array, times: Array, place: Array) -> Array:
    """(n, T) the weight of each person at each event time of its own stratum, one product after the other."""
    assert rows.time is not None
    assert rows.event is not None
    assert rows.strata is not None
    out = np.zeros((rows.time.size, times.size))
    for i in range(rows.time.size):
        for j in np.flatnonzero(place == rows.strata[i]):
            if times[j] <= rows.time[i]:
                out[i, j] = 1.0
            elif competing[i]:
                out[i, j] = staying(rows, rows.event + competing, i, rows.time[i], times[j])
    return out


@given(st.lists(person, min_size=1, max_size=20))
@settings(max_examples=80, deadline=None)
def test_risk_sets_are_their_slow_twin(drawn: list[tuple[int, int, int, float]]) -> None:
    time, kind, strata, weights = (np.array(v) for v in zip(*drawn, strict=True))
    rows = Rows(np.empty((time.size, 0)), time.astype(float), (kind == 1) * 1.0, None, None, strata, None, weights)
    sets = subdistribution(rows, kind == 2, weights)
    happened = np.unique(np.column_stack([strata, time])[kind == 1], axis=0).reshape(-1, 2)
    slow = slow_weights(rows, (kind == 2) * 1.0, happened[:, 1].astype(float), happened[:, 0])
    rng = np.random.default_rng(7)
    r, x, a = rng.random(time.size), rng.random((time.size, 2)), rng.random(sets.size)
    assert np.allclose(sets.at_risk(r), r @ slow, atol=1e-12)
    assert np.allclose(sets.at_risk(x), slow.T @ x, atol=1e-12)
    assert np.allclose(sets.during(a), slow @ a, atol=1e-12)
    assert np.allclose(sets.during(np.column_stack([a, a**2])), slow @ np.column_stack([a, a**2]), atol=1e-12)


# Any deal of the people ---------------------------------------------------------------------------------------

SHARED_FITS = {
    "incidence": CompetingRisks("Surv(etime, event) ~ sex", times=(60,), ground=GROUND),
    "incidence, exact": CompetingRisks("Surv(etime, event) ~ sex", times=(60,), ground=FINE),
    "cause-specific": CompetingRisks(TERMS, "cause-specific", "death", baseline="shared", ground=FINE),
    "fine-gray": CompetingRisks(TERMS, "fine-gray", "death", baseline="shared", ground=FINE),
}
SOME = myeloma().sample(240, random_state=3)
deals = st.lists(st.integers(0, 2), min_size=240, max_size=240)


def same(one: Finding, other: Finding) -> None:
    """Every number of every table to 1e-7, which leaves room for where an iteration stopped."""
    assert one.tables.keys() == other.tables.keys()
    for name in one.tables:
        a, b = one.summary(name), other.summary(name)
        assert a.columns.tolist() == b.columns.tolist()
        for column in a:
            if a[column].dtype.kind == "f":
                assert np.allclose(a[column], b[column], rtol=1e-7, atol=1e-9, equal_nan=True), (name, column)
            else:
                assert a[column].tolist() == b[column].tolist()


@pytest.mark.parametrize("name", SHARED_FITS)
@given(deals)
@settings(max_examples=4, deadline=None)
def test_any_deal_gives_the_pooled_finding(name: str, deal: list[int]) -> None:
    """Three hospitals and an empty one against one that has everybody, on the same rules of support."""
    policy = LOOSE if SHARED_FITS[name].ground.fine else replace(LOOSE, k=2)
    frames = [SOME[np.array(deal) == h] for h in range(4)]
    same(fit(SHARED_FITS[name], [f.sample(frac=1, random_state=1) for f in frames], policy),
         fit(SHARED_FITS[name], [SOME], policy))  # fmt: skip


@pytest.mark.parametrize("model", ["cause-specific", "fine-gray"])
@given(deals)
@settings(max_examples=4, deadline=None)
def test_a_baseline_per_hospital_is_strata_of_the_deal(model: str, deal: list[int]) -> None:
    frame = SOME.assign(deal=pd.Categorical.from_codes(deal, categories=list(HOSPITALS)))
    apart = CompetingRisks(TERMS, model, "death", ground=GROUND)
    strata = CompetingRisks(f"{TERMS} + strata(deal)", model, "death", ground=GROUND)
    one = fit(apart, [frame[frame["deal"] == h] for h in HOSPITALS] + [frame[:0]])
    other = fit(strata, [frame])
    for name in ("coefficients", "tests", "proportional_hazards"):
        a, b = one.summary(name), other.summary(name)
        for column in a.select_dtypes("float"):
            assert np.allclose(a[column], b[column], rtol=1e-6, atol=1e-9), (name, column)


def test_masked_and_gated_is_clear(hospitals: list[pd.DataFrame]) -> None:
    """Through masks, gates under the default policy and followed flows, to what the fixed point carries."""
    federation = Local({h: f for h, f in zip(HOSPITALS, hospitals, strict=True)}, GROUND)
    for analysis in (
        CompetingRisks("Surv(etime, event) ~ sex", times=(60, 120), ground=GROUND),
        CompetingRisks(TERMS, "cause-specific", "progression", ground=GROUND),
        CompetingRisks(TERMS, "fine-gray", "progression", ground=GROUND),
        CompetingRisks(TERMS, "fine-gray", "progression", baseline="shared", ground=GROUND),
    ):
        masked, apart = federation.run(analysis), fit(analysis, hospitals, Policy())
        tables = [t for t in ("incidence", "at_times", "coefficients") if t in masked.tables]
        for name in tables:
            a, b = masked.summary(name), apart.summary(name)
            for column in a.select_dtypes("float"):
                assert np.allclose(a[column], b[column], rtol=1e-8, atol=1e-10, equal_nan=True), (name, column)


def test_no_nan_in_a_table(hospitals: list[pd.DataFrame]) -> None:
    for analysis in SHARED_FITS.values():
        found = fit(analysis, hospitals, EXACT if analysis.ground.fine else Policy())
        numbers = [v for rows in found.tables.values() for r in rows for v in r.values() if isinstance(v, float)]
        assert np.isfinite(numbers).all()


# Wrong input --------------------------------------------------------------------------------------------------

INCIDENCE = "Surv(etime, event) ~ sex"


@pytest.mark.parametrize(
    ("settings_", "error", "says"),
    [
        (
            {"formula": TERMS, "model": "cause-specific", "cause": "progresion"},
            StudyError,
            "did you mean 'progression'",
        ),
        ({"formula": TERMS, "model": "fine-gray", "cause": "relapse"}, StudyError, "causes are 'progression', 'death'"),
        ({"formula": TERMS, "model": "fine-gray"}, StudyError, "set cause to one of 'progression', 'death'"),
        ({"formula": TERMS, "model": "fine-gray", "cause": "censored"}, StudyError, "which is censoring"),
        ({"formula": INCIDENCE, "cause": "death"}, StudyError, "leave cause out"),
        ({"formula": INCIDENCE, "model": "fine gray"}, StudyError, "'incidence', 'cause-specific', 'fine-gray'"),
        ({"formula": INCIDENCE, "times": (0.0,)}, StudyError, "reporting times are positive"),
        ({"formula": INCIDENCE, "conf_type": "logit"}, StudyError, "'log', 'log-log' or 'plain'"),
        ({"formula": TERMS, "model": "fine-gray", "cause": "death", "times": (1.0,)}, StudyError, "leave them out"),
        (
            {"formula": TERMS, "model": "fine-gray", "cause": "death", "ties": "exact"},
            StudyError,
            "'efron' or 'breslow'",
        ),
        ({"formula": "Surv(etime, death) ~ sex"}, StudyError, r"\[data.columns.death\] levels = \[...\]"),
        ({"formula": "Surv(etime, sex) ~ 1"}, StudyError, "one cause only, 'M'"),
        ({"formula": "age ~ sex"}, FormulaError, r"Surv\(time, event\)"),
        (
            {"formula": "Surv(dxyr, etime, event) ~ age", "model": "fine-gray", "cause": "death"},
            FormulaError,
            "has no entry times",
        ),
        (
            {"formula": "Surv(etime, event) ~ 1", "model": "fine-gray", "cause": "death"},
            FormulaError,
            "at least one term",
        ),
    ],
)
def test_wrong_settings(settings_: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        CompetingRisks(**settings_, ground=GROUND).check()


def test_other_methods_point_here() -> None:
    with pytest.raises(StudyError, match="competing_risks"):
        fit(KaplanMeier(INCIDENCE, ground=GROUND), [SOME])


@pytest.mark.parametrize("baseline", ["per hospital", "shared"])
@pytest.mark.parametrize("model", ["cause-specific", "fine-gray"])
def test_no_events_of_the_cause(hospitals: list[pd.DataFrame], model: str, baseline: str) -> None:
    frames = [f[f["event"] != "progression"] for f in hospitals]
    with pytest.raises(ModelError, match="no events of cause 'progression'"):
        fit(CompetingRisks(TERMS, model, "progression", baseline=baseline, ground=GROUND), frames, Policy())


def test_a_cause_without_events_has_a_flat_incidence(hospitals: list[pd.DataFrame]) -> None:
    frames = [f[f["event"] != "progression"] for f in hospitals]
    found = fit(CompetingRisks("Surv(etime, event) ~ 1", times=(60,), ground=GROUND), frames, Policy())
    rows = found.summary("incidence").set_index("cause")
    assert rows.loc[["progression"], "estimate"].tolist() == [0.0]
    assert rows.loc["death", "estimate"].max() > 0.5


def test_an_undeclared_level_is_an_error(people: pd.DataFrame) -> None:
    frame = people.assign(event=people["event"].astype(str).replace("death", "lost"))
    with pytest.raises(DataError, match="no declared level"):
        fit(CompetingRisks(INCIDENCE, ground=GROUND), [frame])


def test_a_term_constant_in_every_hospital(hospitals: list[pd.DataFrame]) -> None:
    frames = [f.assign(place=float(i)) for i, f in enumerate(hospitals)]
    with pytest.raises(ModelError, match="constant within every hospital"):
        fit(CompetingRisks("Surv(etime, event) ~ place", "fine-gray", "death", ground=GROUND), frames, Policy())
