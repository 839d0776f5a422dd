"""Effects on times to events: the twin, bootstrap standard errors, coverage, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from confrere.analyses.cox import Cox
from confrere.analyses.curves import Cellwise
from confrere.analyses.effects.effect import Effect
from confrere.analyses.effects.risks import Read, Risks
from confrere.analyses.finding import Finding
from confrere.errors import FormulaError, ModelError, StudyError
from confrere.study.ground import Ground
from confrere.study.schema import Column, Schema
from confrere.testing import GATE, LOOSE, SCHEMA, fit, found, masked
from effects.followed import TAU, TIMES, followed, measured, right, truth, weights

STORED = json.loads((Path(__file__).parent / "survival_bootstrap.json").read_text())
DAYS = Ground(fine=True, step=1.0)
ESTIMANDS = ("ATE", "ATT", "ATO", "ATM")
SURV = "Surv(time, event)"


def effect_of(terms: int, **more: Any) -> Effect:
    """The study of a generated world."""
    return Effect("a", SURV, right(terms), **({"ground": DAYS} | more))


def named(finding: Finding) -> dict[str, dict[str, Any]]:
    """The records of the effects by measure and time."""
    rows = finding.tables["effects"]
    return {r["measure"] + (f" {r['time']:g}" if "time" in r else ""): r for r in rows}


@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_the_flow_is_the_twin_and_the_bootstrap(estimand: str) -> None:
    """Estimates equal the pooled twin's; standard errors those of 5,000 replicates within 2 % (log ratios 3 %)."""
    people = followed(STORED["people"], STORED["terms"], np.random.default_rng(STORED["seed"]))
    got = named(fit(effect_of(STORED["terms"], estimand=estimand, times=TIMES, tau=TAU), people.frames, LOOSE))
    want, spread = measured(people, estimand), STORED["std_error"][estimand]
    assert got.keys() == want.keys() == spread.keys()
    for name, row in got.items():
        assert row["estimate"] == pytest.approx(want[name], rel=1e-8), name
        assert row["std_error"] == pytest.approx(spread[name], rel=0.03 if "risk ratio" in name else 0.02), name


def test_weights_taken_as_known_are_far_off() -> None:
    """A control: Lin and Wei's (Binder's) and the naive standard errors are more than 15 % from the bootstrap's."""
    people = followed(STORED["people"], STORED["terms"], np.random.default_rng(STORED["seed"]))
    w, want = weights(people, "ATE"), STORED["std_error"]["ATE"]["hazard ratio"]
    frames = [frame.assign(w=w[people.hospital == h]) for h, frame in enumerate(people.frames)]
    (row,) = fit(Cox(f"{SURV} ~ a", weights="w", robust=True, ground=DAYS), frames, LOOSE).tables["coefficients"]
    assert row["robust_se"] > 1.3 * want
    assert row["std_error"] < 0.85 * want


def covered(runs: int, seed: int, **more: Any) -> dict[str, float]:
    """The share of simulated studies, by measure, whose 95 % limits hold the truth."""
    rng, hits = np.random.default_rng(seed), dict[str, int]()
    for _ in range(runs):
        for name, row in named(fit(effect_of(3, **more), followed(1000, 3, rng).frames, LOOSE)).items():
            true = truth(row["measure"], row.get("time", 0.0))
            hits[name] = hits.get(name, 0) + (row["conf_low"] <= true <= row["conf_high"])
    return {name: n / runs for name, n in hits.items()}


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ["per hospital", "shared"])
def test_limits_hold_the_truth(baseline: str) -> None:
    """1,000 studies on cells of 73 days: a share of 95 % is seen between 93.6 and 96.4 % in 96 of 100 experiments."""
    ground = Ground(step=73.0, horizon=1460.0)
    more = {"times": TIMES, "tau": TAU} if baseline == "per hospital" else {}
    for measure, share in covered(1000, 5, baseline=baseline, ground=ground, **more).items():
        assert 0.93 <= share <= 0.97, (measure, share)


def test_limits_hold_the_truth_in_a_few_studies() -> None:
    """The quick part: 60 studies, four standard errors."""
    for measure, share in covered(60, 9, ground=Ground(step=73.0, horizon=1460.0), times=TIMES).items():
        assert share >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / 60), (measure, share)


@pytest.mark.parametrize("more", [{}, {"baseline": "shared", "estimand": "ATO"}, {"hospital_effects": True}])
def test_masked_is_clear_and_counts_are_of_enough_people(more: dict[str, Any]) -> None:
    """Over masks and gates; no count of a table is of 1 to 10 people."""
    people = followed(900, 3, np.random.default_rng(4))
    effect = effect_of(3, ground=Ground(), times=TIMES, **more)
    frames = people.frames
    clear = fit(effect, frames, GATE)
    assert set(clear.arrays) == {"estimate", "vcov", "naive_vcov"}
    assert clear.arrays["vcov"][0, 0] == pytest.approx(clear.tables["effects"][0]["std_error"] ** 2, rel=1e-12)
    got = found(masked(effect, {f"h{i}": frame for i, frame in enumerate(frames)}))
    for one, other in zip(got.tables["effects"], clear.tables["effects"], strict=True):
        assert one["estimate"] == pytest.approx(other["estimate"], rel=1e-9)
        assert one["std_error"] == pytest.approx(other["std_error"], rel=1e-8)
    for name in ("curve", "arms", "overlap"):
        for row in got.tables[name]:
            counts = [row[k] for k in ("n", "at_risk", "events", "censored") if row.get(k) is not None]
            assert not any(0 < n < 11 for n in counts), (name, row)


def test_a_short_curve_has_limits_and_a_long_one_some() -> None:
    """Limits of a curve are asked where the budget of numbers is ample, at 24 places at most."""
    for n, terms, some in ((6000, 3, True), (300, 8, False)):
        people = followed(n, terms, np.random.default_rng(6), strong=0.2)
        rows = fit(effect_of(terms, ground=Ground(), times=(365.0, 730.0)), people.frames, GATE).tables["curve"]
        known = [r for r in rows if r["std_error"] is not None]
        assert bool(known) == some
        for arm in ("treated", "untreated"):
            assert len([r for r in known if r["group"] == arm]) <= 24
        for row in known:
            assert row["conf_low"] <= row["estimate"] <= row["conf_high"]


def test_causes_have_risks_of_their_own_that_add_up() -> None:
    """Risks of two causes add up to that of any; the hazard ratio is that of the cause that is named."""
    people, rng = followed(3000, 3, np.random.default_rng(8)), np.random.default_rng(9)
    fate = np.where(people.event == 0, "alive", np.where(rng.random(3000) < 0.4, "relapse", "death"))
    frames = [f.assign(fate=fate[people.hospital == h]) for h, f in enumerate(people.frames)]
    ground = Ground(Schema({"fate": Column("fate", SCHEMA.levels("fate"))}), fine=True, step=1.0)
    frames = [f.assign(fate=f["fate"].astype("category").cat.set_categories(SCHEMA.levels("fate"))) for f in frames]
    settings: dict[str, Any] = {"times": TIMES, "ground": ground}
    several = fit(Effect("a", "Surv(time, fate)", right(3), cause="death", **settings), frames, LOOSE)
    any_of = fit(Effect("a", SURV, right(3), **settings), frames, LOOSE)
    parts = [[r["estimate"] for r in several.tables["risks"] if r["cause"] == cause] for cause in ("relapse", "death")]
    np.testing.assert_allclose(np.sum(parts, axis=0), [r["estimate"] for r in any_of.tables["risks"]], rtol=1e-9)
    assert [r["cause"] for r in several.tables["effects"] if r["measure"] == "hazard ratio"] == ["death"]
    assert {r["cause"] for r in several.tables["incidence"]} == {"relapse", "death"}


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("last", ["some stay", "nobody stays"])
def test_derivatives_by_counts_are_differences(exact: bool, last: str) -> None:
    """Risks, of a cause and of any, and means: their derivatives by events and censorings are central differences."""
    rng, m = np.random.default_rng(12), 6
    events, censored = rng.uniform(0.5, 4.0, (2, m)), rng.uniform(0.5, 4.0, m)
    events[:, 2] = 0.0
    censored[4] = 0.0
    censored[-1] += 5.0 if last == "some stay" else 0.0

    def read(events: np.ndarray, censored: np.ndarray, which: int) -> Read:
        out = events.sum(axis=0) + censored
        at_risk = np.cumsum(out[::-1])[::-1]
        if last == "some stay":
            at_risk = at_risk + 3.0
        left, ends = np.arange(m) * 10.0, np.arange(m)
        risks = Risks(Cellwise(left, left + 10.0, at_risk, events, censored, exact, ends, ends))
        return risks.mean(47.0) if which == 3 else risks.risk((30.0, 44.0, 37.0)[which], (0, 1, -1)[which])

    step = 1e-6
    for which in range(4):
        got = read(events, censored, which)
        for j in range(m):
            for cause in (0, 1, 2):
                if cause < 2 and not events[cause, j]:
                    continue  # at no event of any cause the share of a cause has no derivative
                ends = []
                for sign in (1, -1):
                    moved, lost = events.copy(), censored.copy()
                    (moved[cause] if cause < 2 else lost)[j] += sign * step
                    ends.append(read(moved, lost, which).value)
                want = (ends[0] - ends[1]) / (2 * step)
                found = got.events[cause, j] if cause < 2 else got.censored[j]
                assert found == pytest.approx(want, rel=1e-6, abs=1e-8), (which, j, cause)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"estimator": "aipw"}, StudyError, "set times or tau"),
        ({"family": "poisson"}, StudyError, "has no family"),
        ({"outcome_model": "a * x0"}, StudyError, "iptw has no outcome model"),
        ({"estimator": "gformula", "tau": 9.0, "censoring": "x0"}, StudyError, "leave censoring out"),
        ({"estimator": "gformula", "outcome": "Surv(time, fate)", "tau": 9.0}, StudyError, "risk of each at times"),
        ({"estimator": "aipw", "outcome": "Surv(time, fate)", "times": (1.0,), "cause": "cold"}, StudyError, "cold"),
        ({"outcome": "event", "censoring": "x0"}, StudyError, "are of an outcome Surv"),
        ({"censoring": "0 + x0"}, FormulaError, "censoring"),
        ({"heterogeneity": True, "baseline": "shared"}, StudyError, "is that of the hazard ratio"),
        ({"heterogeneity": True, "estimator": "aipw", "tau": 9.0}, StudyError, "is that of the hazard ratio"),
        ({"heterogeneity": True, "outcome": "event", "estimator": "gformula"}, StudyError, "one model for all"),
        ({"outcome": "Surv(entry, time, event)"}, FormulaError, "begins at time zero"),
        ({"times": (-1.0,)}, StudyError, "positive numbers"),
        ({"times": (365.0, 365.0)}, StudyError, "name each once"),
        ({"baseline": "one"}, StudyError, "per hospital"),
        ({"ties": "exact"}, StudyError, "efron"),
        ({"outcome": "Surv(time, fate)"}, StudyError, "causes compete: name the cause"),
        ({"outcome": "Surv(time, fate)", "cause": "cold"}, StudyError, "cold"),
        ({"outcome": "Surv(time, fate)", "times": (1.0,), "tau": 1.0}, StudyError, "causes compete: leave it out"),
        ({"outcome": "event", "times": (1.0,)}, StudyError, "are of an outcome Surv"),
        ({"outcome": SURV, "cause": "death"}, StudyError, "no levels"),
        ({"outcome": "Surv(x0, event)"}, FormulaError, "is the outcome and a confounder"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    ground = Ground(Schema({"fate": Column("fate", ("alive", "relapse", "death"))}))
    with pytest.raises(error, match=words):
        Effect(**({"treatment": "a", "outcome": SURV, "confounders": "x0", "ground": ground} | settings)).check()


def test_what_cannot_be_estimated_is_said() -> None:
    people = followed(600, 3, np.random.default_rng(2))
    got = fit(effect_of(3, times=(365.0, 4000.0)), people.frames, LOOSE)
    assert {r["time"] for r in got.tables["effects"] if r["measure"].startswith("risk")} == {365.0}
    assert "Nobody of an arm is followed until 4000" in got.notes[-1]
    late = [frame.assign(time=frame["time"] + 200) for frame in people.frames]
    for study in (effect_of(3, times=(100.0, 400.0)), effect_of(3, times=(100.0, 400.0), estimator="gformula")):
        got = fit(study, late, LOOSE)
        assert {r["time"] for r in got.tables["effects"] if r["measure"].startswith("risk")} == {400.0}
        assert got.notes[-1].startswith("By 100 nobody of an arm has the event")
    none = people._replace(event=people.event * people.a)
    with pytest.raises(ModelError, match="nobody who is untreated has the event"):
        fit(effect_of(3), none.frames, LOOSE)
    apart = people._replace(hospital=people.a + (people.a == 0) * (np.arange(600) % 2) * 2)
    with pytest.raises(ModelError, match="shared"):
        fit(effect_of(3), apart.frames, LOOSE)
    assert fit(effect_of(3, baseline="shared"), apart.frames, LOOSE).n == 600
