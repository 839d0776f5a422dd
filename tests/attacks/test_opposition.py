"""Two runs around one opposition: their difference must not be that patient's row.

The control shows what masks do not help against: people being otherwise the same, the difference of two findings is
the patient's row. With the cover every difference, and every other combination of all that was ever answered about a
table, rests on nobody or on k people.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from attacks.people import GROUND, patients
from confrere.data.cover import atoms, cohort
from confrere.data.opposition import Register, Said
from confrere.data.sources import read
from confrere.data.without import Without
from confrere.rounds import find
from confrere.testing.runs import found, masked

K = 11
PURPOSE = "public-interest research"
VALUES = ("x1", "x2", "y")


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    made = Register(tmp_path / "oppositions.sqlite")
    yield made
    made.close()


def opposes(register: Register, person: str) -> None:
    register.say(Said(person, "*", "opposed", "2026-01-01", "letter"))


def ran(register: Register, ids: list[str], table: str = "breast") -> frozenset[str]:
    """Whom a run is about; it is answered."""
    left = register.eligible(table, PURPOSE, ids, K)
    stay = frozenset(ids) - left.everyone
    register.answered(table, PURPOSE, stay, K)
    return stay


# Two masked runs ----------------------------------------------------------------------------------------------


def sums(hospitals: dict[str, pd.DataFrame], out: frozenset[str]) -> tuple[int, np.ndarray]:
    """What a researcher makes of a masked run's finding: people, and the sums of their values (3,)."""
    columns = list(VALUES)
    frames = {n: read(Without(f, "pid", out), columns, GROUND.schema).frame for n, f in hospitals.items()}
    finding = found(masked(find("describe")(VALUES, ground=GROUND), frames))
    rows = {row["variable"]: row for row in finding.tables["table1"]}
    return finding.n, np.array([rows[v]["n"] * rows[v]["mean"] for v in VALUES])


@pytest.fixture
def hospitals() -> dict[str, pd.DataFrame]:
    frame = patients(300)
    return {f"h{i}": frame[i::3].reset_index(drop=True) for i in range(3)}


def test_control_without_a_cover_the_difference_of_two_runs_is_the_row(
    register: Register, hospitals: dict[str, pd.DataFrame]
) -> None:
    target = hospitals["h0"].iloc[17]
    n, before = sums(hospitals, frozenset())
    opposes(register, target["pid"])
    m, after = sums(hospitals, register.left_out(PURPOSE, hospitals["h0"]["pid"].tolist()))
    assert n - m == 1
    np.testing.assert_allclose(before - after, target[list(VALUES)].astype(float), rtol=0, atol=1e-9)


def test_with_the_cover_it_rests_on_k_people(register: Register, hospitals: dict[str, pd.DataFrame]) -> None:
    ids = hospitals["h0"]["pid"].tolist()
    target = hospitals["h0"].iloc[17]
    assert ran(register, ids) == set(ids)
    n, before = sums(hospitals, frozenset())
    opposes(register, target["pid"])
    left = register.eligible("breast", PURPOSE, ids, K)
    assert left.out == {target["pid"]}
    assert len(left.cover) == K - 1
    m, after = sums(hospitals, left.everyone)
    assert n - m == K
    gone = hospitals["h0"][hospitals["h0"]["pid"].isin(left.everyone)][list(VALUES)]
    np.testing.assert_allclose(before - after, gone.sum(), atol=1e-9)
    rows = pd.concat(hospitals.values())[list(VALUES)].to_numpy()
    apart = np.abs(rows - (before - after)).max(axis=1).min()
    assert apart > 0.1, "the difference is nobody's row"


# The cover ----------------------------------------------------------------------------------------------------


def test_the_cover_stays_and_tells_nobody_apart(register: Register) -> None:
    ids = [f"p{i}" for i in range(100)]
    ran(register, ids)
    opposes(register, "p3")
    left = register.eligible("breast", PURPOSE, ids, K)
    assert left == register.eligible("breast", PURPOSE, ids, K)
    stay = ran(register, ids)
    again = Register(register.path)
    assert again.eligible("breast", PURPOSE, ids, K) == left
    again.close()
    other = min(left.cover)
    opposes(register, other)  # one of the cover opposes, the first one no longer does: nothing changes outside
    register.withdraw("p3", "*", "desk")
    assert ran(register, ids) == stay
    register.withdraw(other, "*", "desk")
    assert ran(register, ids) == set(ids)


def test_nobody_outside_can_work_out_the_cover(tmp_path: Path) -> None:
    """The same hospital set up twice draws two covers: it hangs on chance alone, not on ids or their order."""
    ids, covers = [f"p{i}" for i in range(200)], set()
    for i in range(4):
        register = Register(tmp_path / f"{i}.sqlite")
        ran(register, ids)
        opposes(register, "p3")
        covers.add(register.eligible("breast", PURPOSE, ids, K).cover)
        register.close()
    assert len(covers) == 4
    assert len(frozenset.union(*covers)) > 2 * K


def test_a_small_hospital_takes_part_with_nobody_rather_than_be_exposed(register: Register) -> None:
    ids = [f"p{i}" for i in range(2 * K - 1)]
    assert ran(register, ids) == set(ids)
    opposes(register, "p3")
    assert ran(register, ids) == frozenset()
    assert ran(register, [f"q{i}" for i in range(K - 1)], "another") == frozenset()


def test_newcomers_wait_until_they_are_k(register: Register) -> None:
    ids = [f"p{i}" for i in range(100)]
    ran(register, ids)
    assert ran(register, [*ids, *(f"q{i}" for i in range(K - 1))]) == set(ids)
    more = [*ids, *(f"q{i}" for i in range(K))]
    assert ran(register, more) == set(more)


def test_purposes_of_one_table_are_held_against_each_other(register: Register) -> None:
    ids = [f"p{i}" for i in range(100)]
    ran(register, ids)
    register.say(Said("p3", "marketing", "opposed", "2026-01-01", "letter"))
    assert ran(register, ids) == set(ids)
    left = register.eligible("breast", "marketing", ids, K)
    assert (left.out, len(left.cover)) == ({"p3"}, K - 1)


def test_sets_that_were_answered_under_a_smaller_k(register: Register) -> None:
    ids = [f"p{i}" for i in range(100)]
    for first in (0, 5, 10):
        register.answered("breast", PURPOSE, ids[first:], 5)
    assert register.eligible("breast", PURPOSE, ids, K).everyone == frozenset()  # was answered: says nothing new
    opposes(register, "p3")
    assert register.eligible("breast", PURPOSE, ids, K).everyone == set(ids[:5])
    register.withdraw("p3", "*", "desk")
    opposes(register, "p7")  # all but p5 to p9 would be new, and 5 people from what was answered
    assert register.eligible("breast", PURPOSE, ids, K).everyone == set(ids)


# Any history --------------------------------------------------------------------------------------------------


def safe(answered: list[frozenset[str]], k: int) -> None:
    """Any two sets differ by 0 or at least k people, and every combination of all sets rests on 0 or at least k."""
    assert all(len(a ^ b) == 0 or len(a ^ b) >= k for a, b in combinations(answered, 2))
    place = {i: n for n, i in enumerate(sorted(frozenset().union(*answered)))}
    patterns: dict[tuple[bool, ...], int] = {}
    for i in place:
        pattern = tuple(i in a for a in answered)
        patterns[pattern] = patterns.get(pattern, 0) + 1
    assert all(size >= k for size in patterns.values())


class World(list[str]):
    """Patients of a hospital: it gets new ones, and loses some."""

    born = 0

    def grow(self, n: int) -> None:
        self += [f"p{i}" for i in range(self.born, self.born + n)]
        self.born += n


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["oppose", "withdraw", "vanish"]), st.integers(0, 10_000)),
        st.tuples(st.just("grow"), st.integers(1, 14)),
        st.tuples(st.just("run"), st.sampled_from([0, 0, 1])),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 80), steps)
def test_any_history_of_the_register_keeps_answers_apart(n: int, history: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        register = Register(Path(folder) / "r.sqlite")
        register._db.execute("PRAGMA synchronous = OFF")
        world, out, answered = World(), set[str](), list[frozenset[str]]()
        world.grow(n)
        for what, i in [("run", 0), *history, ("run", 0)]:
            person = world[i % len(world)] if world else ""
            if what == "grow":
                world.grow(i)
            elif what == "run":
                purpose = ("research", "marketing")[i]
                left = register.eligible("t", purpose, world, 5)
                assert left == register.eligible("t", purpose, list(reversed(world)), 5)
                assert left.out == (out & set(world) if purpose == "research" else set())
                answered.append(frozenset(world) - left.everyone)
                register.answered("t", purpose, answered[-1], 5)
                safe(answered, 5)
            elif what == "vanish" and person:
                world.remove(person)
            elif what == "oppose" and person and person not in out:
                # of today, as a withdrawal is: who withdrew may oppose again
                register.say(Said(person, "Research", "opposed", date.today().isoformat(), "letter"))
                out.add(person)
            elif what == "withdraw" and out & set(world):
                register.withdraw(sorted(out & set(world))[i % len(out & set(world))], "research", "desk")
                out = set(register.left_out("research", world)) | (out - set(world))
        register.close()


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(2, 6), st.integers(0, 60))
def test_any_history_of_sets_keeps_answers_apart(data: st.DataObject, k: int, n: int) -> None:
    """The rule by itself, with any sets of eligible people, and any order of the draw."""
    answered: list[BitMap] = []
    draw = data.draw(st.permutations(range(n)))
    for _ in range(data.draw(st.integers(1, 8))):
        out = data.draw(st.sets(st.integers(0, max(n - 1, 0)), max_size=2 * k))
        stay = cohort(eligible := BitMap(range(n)) - BitMap(out), answered, draw, k)
        assert stay <= eligible
        assert cohort(eligible, [*answered, stay] if stay else answered, draw, k) == stay
        if stay:
            answered.append(stay)
        assert all(len(a) >= k for a in atoms(answered))
        assert all(len(a ^ b) == 0 or len(a ^ b) >= k for a, b in combinations(answered, 2))


def test_as_many_as_can_be_stay() -> None:
    """An opposition costs k people, not more; k of them cost nobody else."""
    everybody = BitMap(range(500))
    for gone in (1, K - 1, K, 40):
        stay = cohort(everybody - BitMap(range(gone)), [everybody], range(500), K)
        assert len(stay) == 500 - max(gone, K)


def test_a_rule_that_covers_no_one_is_caught() -> None:
    """The control of the test of histories."""
    everybody = frozenset(f"p{i}" for i in range(50))
    with pytest.raises(AssertionError):
        safe([everybody, everybody - {"p3"}], 5)
    blocks = [everybody - {f"p{i}" for i in range(s, s + 5)} for s in (0, 4)]  # apart by 8, but p4 is alone in both
    with pytest.raises(AssertionError):
        safe([everybody, *blocks], 5)
