"""The balance of each hospital's own people: by hand, against pandas, and in its steward's folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.analyses.effects import balance
from confrere.analyses.effects.cost import Cost
from confrere.analyses.effects.effect import Effect
from confrere.analyses.outcomes import Frame
from confrere.errors import StudyError
from confrere.hospital import own
from confrere.rounds import Site, drive, supported
from confrere.study.ground import Ground
from confrere.study.own_balance import OwnBalance, OwnTerm
from confrere.study.schema import Column, Schema
from confrere.testing import LOOSE, fit
from confrere.testing.runs import in_the_clear, table
from effects.followed import followed, right, weights

NOBODY = Frame((0.0, 0.0), (1.0, 1.0), 0.0, 1.0, 1.0, False)


def kept(study: Effect, frames: list[Any]) -> list[OwnBalance]:
    """What each hospital keeps, at the coefficients of all."""
    sites, made = [Site(table(frame)) for frame in frames], [None] * len(frames)
    answer = in_the_clear(frames, LOOSE)

    def with_own(asks: Any) -> Any:
        got = answer(asks)
        for a, verdict in zip(asks, got, strict=True):
            for i, site in enumerate(sites):
                if a.kind == "support":
                    site.design(a)
                    site.settle(a, verdict)
                elif a.kind == "keep":
                    site.run(a)
                    (made[i],) = site.kept.values()
        return got

    drive(supported(study.flow()), with_own)
    return made  # type: ignore[return-value]


def test_by_hand() -> None:
    """Treated 3, 5 (weights 1, 3), untreated 1, 2, 3 (weights 1): sd sqrt((2 + 1)/2), differences 4 - 2 and 4.5 - 2."""
    x = np.array([[3.0, 7.0], [5.0, 7.0], [1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    treated, w = np.array([True, True, False, False, False]), np.array([1.0, 3, 1, 1, 1])
    got = balance.own(balance.Weighed(x, NOBODY, treated, w), ("a", "b"), "t: y")
    sd = np.sqrt(1.5)
    assert got.people == (3, 2)
    assert got.terms[0] == pytest.approx(OwnTerm("a", 2 / sd, 2.5 / sd))
    assert got.terms[1] == OwnTerm("b", None, None)  # nobody differs in it
    assert (got.apart(0.1), got.apart(3.0)) == (1, 0)


def arms_of(rare: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table 1 of 300 people, of whom so many of the 100 treated have the second of three levels; and the people."""
    rng = np.random.default_rng(3)
    treated = np.arange(300) < 100
    level = np.where(rng.random(300) < 0.5, "a", "c")
    level[:rare], level[100:140] = "b", "b"
    frame = pd.DataFrame({
        "treated": treated.astype(float), "y": rng.normal(size=300), "x": rng.normal(size=300) + treated,
        "z": (rng.random(300) < 0.4).astype(float), "level": pd.Categorical(level, list("abc")),
    })  # fmt: skip
    ground = Ground(Schema({"level": Column("level", tuple("abc"))}))
    found = fit(
        Effect("treated", "y", "x + z + C(level)", estimand="ATO", ground=ground), [frame.iloc[i::3] for i in range(3)]
    )
    return found.summary("balance").set_index("term"), frame


def test_means_and_shares_of_the_arms() -> None:
    """Those of pandas before weighting; after it, by overlap weights, they are the same (Li)."""
    got, frame = arms_of(20)
    columns = frame.assign(**{f"C(level)[T.{v}]": frame["level"] == v for v in "bc"})
    for arm, name in enumerate(("untreated", "treated")):
        people = columns[columns["treated"] == arm]
        for term in got.index:
            assert got.loc[term, f"{name}_before"] == pytest.approx(people[term].mean(), rel=1e-9)
    np.testing.assert_allclose(got["treated_after"], got["untreated_after"], rtol=1e-7)


def test_levels_of_a_few_people_of_an_arm_are_withheld() -> None:
    """With whatever they follow from: the difference, and the other levels of the column."""
    got, _ = arms_of(8)  # 5 at least, which the gate lets pass, and fewer than 11
    means = [f"{arm}_{when}" for arm in ("untreated", "treated") for when in ("before", "after")]
    for term in got.index:
        hidden = term.startswith("C(level)")
        assert got.loc[term, [*means, "smd_before"]].isna().all() == hidden
        assert (got.loc[term, "suppressed"] == True) == hidden  # noqa: E712  (NaN where it is not)
    assert got["smd_after"].notna().all()


@pytest.mark.parametrize("n", [0, 1])
def test_an_arm_of_nobody_or_one_has_no_spread(n: int) -> None:
    treated = np.arange(4) < n
    got = balance.own(balance.Weighed(np.ones((4, 1)), NOBODY, treated, np.ones(4)), ("a",), "t: y")
    assert got == OwnBalance("t: y", (4 - n, n), (OwnTerm("a", None, None),))


@pytest.mark.parametrize("outcome", ["Surv(time, event)", "event"])
def test_it_is_that_of_the_hospital_by_the_weights_of_all(outcome: str) -> None:
    """The twin's weights, from a propensity of everybody."""
    people = followed(600, 3, np.random.default_rng(2))
    study = Effect("a", outcome, right(3), own_balance=True, ground=Ground(fine=True, step=1.0))
    for h, (got, frame) in enumerate(zip(kept(study, people.frames), people.frames, strict=True)):
        w, a = weights(people, "ATE")[people.hospital == h], frame["a"].to_numpy() == 1
        assert got.people == ((~a).sum(), a.sum())
        for term in got.terms:
            x = frame[term.term].to_numpy()
            sd = np.sqrt((x[a].var(ddof=1) + x[~a].var(ddof=1)) / 2)
            assert term.before == pytest.approx((x[a].mean() - x[~a].mean()) / sd, rel=1e-9)
            assert term.after == pytest.approx(
                (np.average(x[a], weights=w[a]) - np.average(x[~a], weights=w[~a])) / sd, rel=1e-6, abs=1e-9
            )


def test_costs_and_effects_of_the_same_weights_have_the_same() -> None:
    """And another estimand has a table of its own."""
    people = followed(600, 3, np.random.default_rng(2))
    frames = [frame.assign(spent=100.0 * frame["time"]) for frame in people.frames]
    ground, outcome = Ground(fine=True, step=1.0), "Surv(time, event)"
    horizon = float(np.quantile(np.concatenate([frame["time"] for frame in frames]), 0.6))

    def costs(estimand: Any) -> Cost:
        return Cost(
            "a", outcome, ("spent",), (horizon,), (2e4,), confounders=right(3), estimand=estimand, own_balance=True,
            ground=ground,
        )  # fmt: skip

    one = kept(costs("ATE"), frames)
    for got, want in zip(
        one, kept(Effect("a", outcome, right(3), own_balance=True, ground=ground), frames), strict=True
    ):
        assert (got.about, got.people) == (want.about, want.people)
        for mine, its in zip(got.terms, want.terms, strict=True):
            assert (mine.term, mine.before) == (its.term, its.before)
            assert mine.after == pytest.approx(its.after, rel=1e-9)
    assert not {b.about for b in kept(costs("ATO"), frames)} & {b.about for b in one}
    with pytest.raises(StudyError, match="without confounders nobody is weighed"):
        replace(costs("ATE"), confounders="").check()


def test_it_is_of_weighted_people() -> None:
    for settings in ({"estimator": "gformula"}, {"balance": False}):
        with pytest.raises(StudyError, match="own_balance"):
            Effect("a", "event", "x0", own_balance=True, **settings).check()


def test_a_hospital_reads_what_it_wrote(tmp_path: Path) -> None:
    """Another treatment is another table; the same again takes the place of the first."""
    assert own.kept(tmp_path / "none", OwnBalance) == []
    first = OwnBalance("t: y", (20, 30), (OwnTerm("x", 0.5, 0.01), OwnTerm("z", None, None)))
    other, again = first._replace(about="u: y"), first._replace(people=(21, 30))
    for made in (first, other, again):
        own.keep(tmp_path, made)
    assert own.kept(tmp_path, OwnBalance) == [again, other]
    assert (tmp_path / own.FILES[OwnBalance]).stat().st_mode & 0o777 == 0o600
