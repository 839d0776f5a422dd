"""Cells of time of strategies and of trials: what the people between two edges, and who is followed to the end, tell.

Events, starts and losses are told by cell and by arm. So two analyses of the same time whose cells end elsewhere may
not stand in one study, however the time is spelled; and who has neither the event nor is lost follows by subtraction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from confrere.errors import ConfrereError, StudyError
from confrere.hospital.gate import Violation
from confrere.rounds import People, drive, find
from confrere.study import build
from confrere.study.cuts import PATTERNS, Cuts, apart, size_of
from confrere.study.file import parse
from confrere.testing import GATE, fit
from confrere.testing.runs import flow_of, in_the_clear, table

HEAD = '[study]\nid = "s"\npurpose = "public-interest research"\n'
CLONES = (
    'method = "clone_censor_weight"\noutcome = "Surv({time}, event)"\nstarted = "start"\ngrace = 180\n'
    'confounders = "x"\ntimes = [1095]\ncensoring = "{lost}"\n'
)
TRIALS = (
    'method = "sequential_trials"\noutcome = "Surv({time}, event)"\nstarted = "start"\nperiods = [90, 180]\n'
    'confounders = "x"\ntimes = [915]\ncensoring = "{lost}"\n'
)
Kind = tuple[str, str, str]  # a method, the spelling of its time, the model of being lost


def both(*kinds: Kind) -> Any:
    """The analyses of one study."""
    text = (
        f'[[analysis]]\nname = "{name}"\n{method.format(time=time, lost=lost)}'
        for name, (method, time, lost) in zip("ab", kinds, strict=True)
    )
    return build.analyses(parse(HEAD + "".join(text)))


@pytest.mark.parametrize(
    "other",
    [
        (CLONES, "1 * time", "1"), (CLONES, "time + 0", "1"), (CLONES, "time + 0 * x", "1"), (CLONES, "time", "1"),
        (TRIALS, "time", ""), (TRIALS, "time", "1"), (TRIALS, "time + 0", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("turn", [1, -1])
def test_other_cells_of_the_same_time_are_another_study(other: Kind, turn: int) -> None:
    with pytest.raises(StudyError, match="a and b have cells of time of their own"):
        both(*((CLONES, "time", ""), other)[::turn])


def test_control_the_same_cells_and_another_time_stand_side_by_side() -> None:
    for kind in ((CLONES, "time", "1"), (TRIALS, "time", "")):
        assert len(both(kind, kind)) == 2
    assert len(both((CLONES, "time", ""), (CLONES, "later", "1"))) == 2
    assert len(both((CLONES, "time", "1"), (TRIALS, "later", ""))) == 2


def staying(few: int, rest: int) -> pd.DataFrame:
    """People who have the event or are lost by 550, but `few` who start and `rest` who do not, who are followed for
    long; two hundred more of these start late."""
    rng, n = np.random.default_rng(3), 2100
    own = rng.random(n) < 0.45
    frame = pd.DataFrame({
        "x": rng.normal(size=n), "start": np.where(own, np.ceil(rng.uniform(1, 170, n)), np.nan),
        "time": np.ceil(rng.uniform(185, 550, n)), "event": (rng.random(n) < 0.5).astype(float),
    })  # fmt: skip
    soon = rng.random(n) < 0.2
    frame.loc[soon, "time"] = np.ceil(rng.uniform(175, 180, soon.sum()))
    for who, many in ((own, few), (~own, rest)):
        frame.loc[np.flatnonzero(who & ~soon)[:many], ["time", "event"]] = 2500, 0
    late = pd.DataFrame({"x": rng.normal(size=200), "start": 400.0, "time": 2500.0, "event": 0.0})
    return pd.concat([frame, late], ignore_index=True)


METHODS: dict[str, Any] = {
    "clones": lambda lost: find("clone_censor_weight")(
        "Surv(time, event)", "start", 180.0, "x", times=(600.0,), censoring=lost
    ),
    "trials": lambda lost: find("sequential_trials")(
        "Surv(time, event)", "start", (90.0, 180.0), "x", times=(500.0,), censoring=lost
    ),
    "trials, per protocol": lambda lost: find("sequential_trials")(
        "Surv(time, event)", "start", (90.0, 180.0, 600.0), "x", times=(500.0,), contrast="per protocol",
        censoring=lost,
    ),
}  # fmt: skip


def subtracted(name: str, frame: pd.DataFrame) -> float:
    """Who starts and is followed to the end: starts less events less losses, of what is told."""
    told: dict[str, Any] = {}
    answer = in_the_clear([frame[i::3] for i in range(3)], GATE)

    def noted(asks: Any) -> Any:
        found = answer(asks)
        told.update({a.step: sums for a, sums in zip(asks, found, strict=True) if a.step in ("counted", "losses")})
        return found

    drive(flow_of(METHODS[name]("1")), noted)
    counted, lost = told["counted"], told["losses"].lost.value
    if name == "clones":
        return float(counted.started.value[1].sum() - counted.events.value[:, 1].sum() - lost[1].sum())
    starts = counted.enrolled.value[0][1:4:2].sum()  # in the trials at 90 and 180
    return float(starts - counted.treated.value.sum() - lost[1].sum())


@pytest.mark.parametrize("few", [1, 3, 10])
@pytest.mark.parametrize("name", METHODS)
def test_few_who_start_and_are_followed_to_the_end_are_not_told(name: str, few: int) -> None:
    with pytest.raises((Violation, ConfrereError), match=r"too few people|fewer than 11"):
        subtracted(name, staying(few, 300))


def test_nor_few_of_the_others() -> None:
    frame = staying(300, 3).iloc[:-200]  # nobody starts late
    with pytest.raises((Violation, ConfrereError), match=r"too few people|fewer than 11"):
        subtracted("clones", frame)


@pytest.mark.parametrize("many", [11, 30])
@pytest.mark.parametrize("name", METHODS)
def test_control_enough_are_told(name: str, many: int) -> None:
    assert subtracted(name, staying(many, 300)) == many


def test_control_without_losses_nothing_is_subtracted() -> None:
    """Three who stay are then among those who leave without an event."""
    for name in METHODS:
        assert fit(METHODS[name](""), [staying(3, 300)[i::3] for i in range(3)], GATE).tables["effects"]


# Two analyses that follow people by other settings -------------------------------------------------------------

OTHERS = (
    ("periods = [90, 180]", "periods = [90]"), ("times = [915]", "times = [900]"), ('"start"', '"began"'),
    ("times = [915]", "times = [915]\ntau = 800"), ("times = [915]", 'times = [915]\nupdated = [["x", "later"]]'),
)  # fmt: skip


@pytest.mark.parametrize(("own", "other"), OTHERS)
def test_who_is_followed_otherwise_is_another_study(own: str, other: str) -> None:
    """Treated in the second trial with the event in a cell of time: what two analyses tell, that of both trials less
    that of the first alone. In all they are many, and in a cell they may be a few."""
    with pytest.raises(StudyError, match="a and b have cells of time of their own"):
        both((TRIALS, "time", ""), (TRIALS.replace(own, other), "time", ""))


def test_so_is_another_grace_period() -> None:
    with pytest.raises(StudyError, match="a and b have cells of time of their own"):
        both((CLONES, "time", ""), (CLONES.replace("grace = 180", "grace = 150"), "time", ""))


def test_other_confounders_have_the_same_cells() -> None:
    """The cells come from how many people there are, and not from how many columns."""
    frame = staying(300, 300).assign(z=lambda f: f["x"] ** 2, w=lambda f: np.sin(f["x"]))
    for name in ("clone_censor_weight", "sequential_trials"):
        periods: Any = 180.0 if name == "clone_censor_weight" else (90.0, 180.0)
        cells = set()
        for terms in ("x", "x + z", "x + z + w"):
            one = find(name)("Surv(time, event)", "start", periods, terms, times=(500.0,))
            curve = fit(one, [frame.iloc[:400][i::3] for i in range(3)], GATE).tables
            cells.add(tuple(r["time"] for r in curve["strategy_curve" if "clone" in name else "trial_curve"]))
        assert len(cells) == 1


# Several of many periods in one study ---------------------------------------------------------------------------


def many(periods: int, *kinds: tuple[str, str]) -> Any:
    """The analyses of a study of so many periods: of each its time, and its confounders."""
    ends = [60 * k for k in range(1, periods + 1)]
    one = (
        '[[analysis]]\nname = "{}"\nmethod = "sequential_trials"\noutcome = "Surv({}, event)"\nstarted = "start"\n'
        'periods = {}\nconfounders = "{}"\ntimes = [360]\n'
    )
    texts = (one.format(chr(97 + i), time, ends, terms) for i, (time, terms) in enumerate(kinds))
    return build.analyses(parse(HEAD + "".join(texts)))


def test_the_same_trials_count_once() -> None:
    """Whom two analyses of the same trials follow is one set of patterns, whatever else divides people."""
    of = many(8, ("time", "x"), ("time", "x + I(x > 0)"), ("time", "x + z"))
    assert size_of(of) == 2 * size_of(of[:1])
    people = People(table(staying(300, 300)))
    made, alone = (Cuts(tuple(which)).design(people).cells["cuts"] for which in (of[:2], of[:1]))
    assert made.shape == (1, size_of(of[:2]))
    np.testing.assert_array_equal(made.index % size_of(of[:1]), alone.index)


@pytest.mark.parametrize("periods", [5, 6, 7, 8])
def test_two_times_of_many_periods_stand_in_one_study(periods: int) -> None:
    """People can be so many things: in so many trials, treated in the last or not, followed to the end in so many, with
    the event or not; and in none."""
    of = many(periods, ("time", "x"), ("later", "x"))
    each = 1 + sum(2 * (2 * last + 1) for last in range(1, periods + 1))
    assert [size_of([a]) for a in of] == [each, each]
    assert size_of(of) == each**2 <= PATTERNS
    assert len(of[0].selecting) == each - 1


def test_too_many_are_an_error_that_says_what_to_do() -> None:
    of = many(8, ("time", "x"), ("later", "x"), ("last", "x"))
    with pytest.raises(StudyError, match=r"sequential_trials 161, .* which count once, take fewer, or make a study"):
        drive(apart(of), in_the_clear([staying(30, 300).assign(later=1.0, last=1.0)] * 3, GATE))
