"""The gate, rule by rule: what it refuses, and the nearest that passes (DESIGN 4, rules 3 to 6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.analyses.finding import attrition
from confrere.errors import RangeError, Refused
from confrere.hospital import merging
from confrere.hospital.classes import CLASSES
from confrere.hospital.gate import Gate, Policy, Support, Violation, judge, judge_clear, merged, support_of
from confrere.rounds import Array, Ask, Cells, Design, Flow, Ints, People, Sum, Verdict, local, register
from confrere.wire import pack, unpack

GATE = Policy()
# the class alone does not free a column of a few people from the rule on effective numbers
SMALL = Policy(effective=0.0, allow=frozenset(["small_cells", "per_hospital"]))
N = 90  # people, thirty in each hospital


def allowed(*classes: str, **kind: Any) -> Policy:
    """The default gate, with these classes approved."""
    return Policy(allow=frozenset(classes), **kind)


def designs(x: Any = None, hospitals: int = 3, **kind: Any) -> list[Design]:
    """N people, dealt in turn, with these columns, flags (by name), weights, and cells."""
    columns = np.empty((N, 0)) if x is None else np.asarray(x, dtype=float).reshape(N, -1)
    at = [np.arange(N) % hospitals == i for i in range(hospitals)]
    return [_part(columns, here, kind) for here in at]


def _part(columns: Array, here: Any, kind: dict[str, Any]) -> Design:
    cells = {n: replace(c, index=c.index[here]) for n, c in kind.get("cells", {}).items()}
    flags = {n: np.asarray(f, dtype=bool)[here] for n, f in kind.get("flags", {}).items()}
    weights = None if kind.get("weights") is None else np.asarray(kind["weights"], dtype=float)[here]
    names = tuple(f"x{j}" for j in range(columns.shape[1]))
    return Design(
        n=int(here.sum()), rows=here, x=columns[here], names=names, flags=flags, weights=weights, cells=cells,
        columns=names or ("x",), left_out=dict(kind.get("left_out", {})),
    )  # fmt: skip


def first(count: int) -> Array:
    """1 for so many people, 0 for the others."""
    return (np.arange(N) < count).astype(float)


def passes(*args: Any, policy: Policy = GATE, **kind: Any) -> Verdict:
    """The verdict."""
    return judge_clear(designs(*args, **kind), policy)


def refused(*args: Any, says: str, policy: Policy = GATE, **kind: Any) -> None:
    """The gate says no, in these words."""
    with pytest.raises(Violation, match=says):
        judge_clear(designs(*args, **kind), policy)


# Who takes part -----------------------------------------------------------------------------------------------


def test_three_hospitals_at_least():
    sponsors = r"2 hospitals have at least 11 people for this; a sum needs 3\. .*\. Where they are a trial sponsor's"
    refused(hospitals=2, says=sponsors)
    assert passes(hospitals=3).hospitals == 3


def test_a_hospital_without_people_does_not_count():
    nobody = replace(designs()[0], n=0, rows=np.zeros(N, dtype=bool), x=np.empty((0, 0)))
    with pytest.raises(Violation, match="2 hospitals"):
        judge_clear([*designs()[:2], nobody], GATE)
    assert judge_clear([*designs(), nobody], GATE).hospitals == 3
    with pytest.raises(Violation, match=r"^0 hospitals have at least 11 .*ask about more people$"):  # no sponsor's then
        judge_clear([nobody, nobody, nobody], GATE)


def test_a_refusal_says_how_many_people_train():
    """Under a class that asks for more people, a hospital is of nobody if fewer train; all say the same."""
    many = [replace(one, crowd=39 * (i > 0), n=one.n * (i > 0)) for i, one in enumerate(designs())]
    for one in many:
        with pytest.raises(Violation, match=r"^2 hospitals have at least 11 people for this, and 44 to train on; a su"):
            judge(one, _total(many), allowed("model_weights"))
    with pytest.raises(Violation, match=r"^2 hospitals have at least 11 people for this; a sum needs 3"):
        judge(many[0], _total(many), GATE)
    with pytest.raises(Violation, match=r"^2 hospitals have at least 44 people for this; a sum needs 3"):
        judge(replace(many[0], crowd=None), _total(many), allowed("model_weights"))


def _total(parts: list[Design]) -> Support:
    made = [support_of(one, GATE) for one in parts]
    return Support(*(np.sum([one[i] for one in made], axis=0) for i in range(len(Support._fields))))


def test_eleven_people_at_least():
    some = [replace(d, n=3, rows=d.rows, x=np.empty((3, 0))) for d in designs()]
    with pytest.raises(Violation, match="rests on fewer than 11 people"):
        judge_clear(some, GATE)
    assert judge_clear([*some, replace(some[0], n=2, x=np.empty((2, 0)))], GATE).n == 11


# Columns, flags, pairs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 10, N - 10, N - 1])
def test_either_side_of_an_indicator_is_of_eleven(count: int):
    refused(first(count), says="'x0' rests on fewer than 11 people on one side")
    assert passes(first(count), policy=SMALL).n == N


@pytest.mark.parametrize("count", [0, 11, N - 11, N])
def test_an_indicator_of_enough_or_of_nobody_passes(count: int):
    assert passes(first(count)).n == N


def test_the_two_values_may_be_any():
    """A column of 1 and 2 is an indicator too: its rarer side counts."""
    refused(1 + first(10), says="'x0' rests on fewer than 11")
    assert passes(1 + first(15)).n == N


def test_a_score_whose_third_value_is_rare():
    """From n, the sum and the sum of squares of three values follows how many people have each."""
    rare = np.where(np.arange(N) < 6, 3.0, 1 + first(45))
    refused(rare, says="'x0' rests on fewer than 11")
    assert passes(np.where(np.arange(N) < 15, 3.0, 1 + first(45))).n == N


def test_a_measurement_passes():
    assert passes(np.linspace(-1, 1, N)).n == N


def test_a_column_of_one_or_two_hospitals_is_theirs():
    """A level that only two hospitals have: their two sums would be known to each other."""
    here = (np.arange(N) % 3 < 2).astype(float)
    refused(here, says="'x0' has people in 2 hospitals only")
    assert passes(here, policy=allowed("per_hospital")).n == N


@pytest.mark.parametrize("count", [4, N - 4])
def test_events_and_those_without_are_eleven(count: int):
    refused(flags={"event": first(count)}, says="fewer than 11 people are on one side of 'event'")
    assert passes(flags={"event": first(count)}, policy=SMALL).n == N


@pytest.mark.parametrize("count", [0, 11, N - 11, N])
def test_enough_events_or_none_pass(count: int):
    assert passes(flags={"event": first(count)}).n == N


def test_two_marks_meet_in_five_people_or_none():
    one, few, none = first(30), (np.arange(N) >= 27).astype(float), (np.arange(N) >= 30).astype(float)
    refused(np.column_stack([one, few]), says="'x0' and 'x1' meet in fewer than 5 people")
    assert passes(np.column_stack([one, none]), policy=SMALL).n == N
    five = ((np.arange(N) >= 25) & (np.arange(N) < 80)).astype(float)
    assert passes(np.column_stack([one, five])).n == N


def test_a_mark_and_the_event_are_a_pair():
    refused(first(30), flags={"event": np.arange(N) >= 27}, says="'x0' and 'event' meet in fewer than 5")


def test_the_difference_of_two_marks_is_a_cell():
    """All of the one but three people are in the other: subtraction shows the three."""
    refused(np.column_stack([first(30), first(33)]), says="'x0' and 'x1' meet in fewer than 5")
    assert passes(np.column_stack([first(30), first(45)])).n == N


def test_all_that_is_too_rare_is_named_at_once_and_the_rest_passes():
    """What the refusal says to leave out is enough: no further refusal comes of the columns that remain."""
    thin, wide = first(4), np.linspace(-1, 1, N)
    meet = [first(30), (np.arange(N) >= 27).astype(float), ((np.arange(N) >= 28) & (np.arange(N) < 60)).astype(float)]
    x = np.column_stack([wide, *meet, thin, 1 - thin])
    flags = {"event": first(60), "seen": first(3)}
    with pytest.raises(Violation) as told:
        judge_clear(designs(x, flags=flags), GATE)
    said = str(told.value)
    assert "columns 'x4' and 'x5' rest on fewer than 11 people on one side. Leave them out" in said
    assert "fewer than 11 people are on one side of 'seen'" in said
    assert said.endswith("'x1' and 'x2', 'x1' and 'x3' meet in fewer than 5 people. Leave 'x1' out or merge levels")
    assert passes(np.column_stack([wide, *meet[1:]]), flags={"event": first(60)}).n == N


def test_a_column_is_to_go_and_not_the_event():
    flags = {"event": np.arange(N) >= 27}
    refused(
        np.column_stack([first(30), first(31)]), flags=flags, says="'x1' and 'event' meet .* Leave 'x0' and 'x1' out"
    )


# The effective number -----------------------------------------------------------------------------------------


def test_a_column_that_a_few_people_carry():
    """(sum |a|)^2 / sum a^2 of what lies off the median: two people of a thousand times the others' value."""
    carried = np.linspace(0.5, 1.5, N)
    carried[:2] = 1000.0
    refused(carried, says="'x0' has an effective number under 11")
    assert passes(np.minimum(carried, 1.5)).n == N


def test_case_weights_that_a_few_people_carry():
    weights = np.ones(N)
    weights[:3] = 500.0
    refused(weights=weights, says="'the case weights' has an effective number under 11")
    assert passes(weights=np.where(np.arange(N) % 2, 2.0, 1.0)).n == N


# Cells --------------------------------------------------------------------------------------------------------


def cells(table: Any, rule: str, **kind: Any) -> dict[str, Cells]:
    """A partition whose cells hold so many people: table (groups, cells) summing to N, or less with -1 for the rest."""
    counts = np.atleast_2d(np.asarray(table))
    index = np.repeat(np.arange(counts.size), counts.ravel())
    everybody = np.concatenate([index, np.full(N - index.size, -1)])
    return {"c": Cells(everybody.astype(np.int64), counts.shape, rule, **kind)}


def grid(table: Any, rule: str, policy: Policy = GATE, **kind: Any) -> list[list[int]]:
    """What becomes of each cell."""
    return passes(cells=cells(table, rule, **kind), policy=policy).grids["c"].tolist()


def test_refuse():
    refused(cells=cells([40, 5, 45], "refuse"), says="cells 'c': some rest on fewer than 11 people")
    assert grid([40, 0, 50], "refuse") == [[0, 1, 2]]
    assert grid([40, 5, 45], "refuse", SMALL) == [[0, 1, 2]]


def test_suppress_hides_a_second_cell_so_that_the_first_cannot_be_had_by_subtraction():
    assert grid([40, 5, 25, 20], "suppress") == [[0, -1, 2, -1]]  # 5, and 20, the next smallest
    assert grid([40, 5, 7, 38], "suppress") == [[0, -1, -1, 3]]  # 5 + 7 is 12: enough to hide each other
    assert grid([[40, 0], [5, 45]], "suppress") == [[0, 1], [-1, -1]]  # of its own group
    assert grid([30, 30, 30], "suppress") == [[0, 1, 2]]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_is_suppressed_of_a_group_rests_on_enough_people_or_is_all_of_it(counts: list[int]):
    table = np.array([counts], dtype=float)
    design = Design(
        n=0, rows=np.zeros(0, dtype=bool), cells={"c": Cells(np.empty(0, np.int64), table.shape, "suppress")}
    )
    total = support_of(design)._replace(here=np.array([1000.0, 3.0, 0.0, 3.0]), cells=table.ravel())
    hidden = judge(design, total, GATE).grids["c"][0] < 0
    assert not (hidden & (table[0] == 0)).any()
    assert not GATE.few(table[0][~hidden]).any()
    assert not GATE.few(table[0][hidden].sum()) or not (table[0][~hidden] > 0).any()


def test_drop_leaves_the_people_of_small_cells_out_of_the_study():
    verdict = passes(cells=cells([40, 5, 45], "drop"))
    assert verdict.grids["c"].tolist() == [[0, -1, 2]]
    assert verdict.n == N - 5
    assert passes(cells=cells([40, 0, 50], "drop")).grids["c"].tolist() == [[0, -1, 2]]  # nobody looks alike


def test_show_says_which_cells_hold_enough_and_leaves_nobody_out():
    verdict = passes(cells=cells([40, 5, 45], "show"))
    assert verdict.grids["c"].tolist() == [[0, -1, 2]]
    assert verdict.n == N


def test_require_asks_everybody_for_a_column_that_a_few_miss():
    assert grid([85, 5], "require") == [[1, 1]]
    assert grid([60, 30], "require") == [[0, 0]]
    assert grid([90, 0], "require") == [[0, 0]]
    assert passes(cells=cells([85, 5], "require")).n == 0  # not yet the people of any answer


def test_merge_joins_neighbours_until_each_holds_enough():
    assert grid([4, 4, 4, 78], "merge") == [[0, 0, 0, 1]]
    assert grid([[30, 5, 10], [2, 2, 41]], "merge") == [[0, 1, 1], [0, 0, 0]]  # each group by itself


def test_align_gives_all_groups_one_grid():
    assert grid([[28, 5, 12], [2, 20, 23]], "align") == [[0, 0, 1], [0, 0, 1]]
    assert grid([[30, 5, 10], [2, 20, 23]], "align") == [[0, 0, 0], [0, 0, 0]]


def test_a_group_that_is_small_in_one_partition_is_suppressed_in_all_of_the_family():
    """Its number in one would follow from the others."""
    both = (
        cells([[20, 20], [2, 2]], "merge", family="time")["c"],
        cells([[10, 10], [15, 11]], "merge", family="time")["c"],
    )
    verdict = passes(cells={"events": both[0], "censored": both[1]})
    assert verdict.grids["events"].tolist() == [[0, 1], [-1, -1]]
    assert verdict.grids["censored"].tolist()[1] == [-1, -1]


def test_no_group_with_enough_people_is_a_refusal():
    refused(cells=cells([[3, 3], [2, 2]], "merge"), says="every group has fewer than 11 people")


def test_fine_needs_a_class_and_names_it():
    refused(cells=cells([1, 89], "fine"), says="ask for no support and name no disclosure class")
    refused(
        cells=cells([1, 89], "fine", needs="fine_times"), says="need the disclosure class 'fine_times': exact event"
    )
    assert grid([1, 89], "fine", allowed("fine_times"), needs="fine_times") == [[0, 1]]


def test_times_are_of_thirty_days_at_the_finest():
    refused(cells=cells([45, 45], "merge", days=7.0), says="finer than 30 days and need the class 'fine_times'")
    assert grid([45, 45], "merge", days=30.0) == [[0, 1]]
    assert grid([45, 45], "merge", allowed("fine_times"), days=7.0) == [[0, 1]]


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_is_needed_by_what_names_it_and_explained(name: str):
    refused(cells=cells([45, 45], "refuse", needs=name), says=f"need the disclosure class '{name}'")
    assert grid([45, 45], "refuse", allowed(name), needs=name) == [[0, 1]]
    assert len(CLASSES[name]) > 40


# Merging, for any counts --------------------------------------------------------------------------------------

tables = st.integers(1, 3).flatmap(
    lambda groups: st.integers(1, 14).flatmap(
        lambda size: st.lists(
            st.lists(st.lists(st.integers(0, 25), min_size=size, max_size=size), min_size=groups, max_size=groups),
            min_size=1, max_size=3,
        )
    )
)  # fmt: skip


def sums(row: Array, grid: Ints) -> Array:
    """People per merged cell."""
    return np.bincount(grid[grid >= 0], row[grid >= 0])


@given(tables, st.lists(st.integers(1, 13), max_size=3), st.booleans())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_merged_cells_hold_nobody_or_enough(counts: list[list[list[int]]], marks: list[int], aligned: bool):
    stack = {f"t{i}": np.array(t, dtype=float) for i, t in enumerate(counts)}
    groups, size = np.array(counts[0]).shape
    small = np.array([any(0 < t[g].sum() < GATE.k for t in stack.values()) for g in range(groups)])
    if small.all():
        with pytest.raises(Violation):
            merged(stack, marks, GATE, aligned=aligned)
        return
    found = merged(stack, marks, GATE, aligned=aligned)
    for name, table in stack.items():
        for row, own, few in zip(table, found[name], small, strict=True):
            assert own.shape == (size,)
            if few:
                assert (own == -1).all()
                continue
            assert own[0] == 0  # monotone, without gaps
            assert np.isin(np.diff(own), (0, 1)).all()
            assert not GATE.few(sums(row, own)).any()
            assert sums(row, own).sum() == row.sum()  # nobody is lost
    if aligned:
        shown = [
            own.tolist() for own_table in found.values() for own, few in zip(own_table, small, strict=True) if not few
        ]
        assert all(own == shown[0] for own in shown)


@given(st.lists(st.integers(0, 25), min_size=2, max_size=14), st.integers(1, 13))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_mark_is_kept_if_both_sides_allow_it(counts: list[int], mark: int):
    """A reporting time stays the edge of a cell if nobody or at least k people lie on either side."""
    row = np.array(counts, dtype=float)
    if mark >= len(counts) or GATE.few(row.sum()):
        return
    own = merged({"t": row[None]}, [mark], GATE, aligned=False)["t"][0]
    allows = not GATE.few(row[:mark].sum()) and not GATE.few(row[mark:].sum())
    assert not allows or own[mark] != own[mark - 1]


@given(st.lists(st.integers(11, 40), min_size=1, max_size=10))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_cells_that_hold_enough_are_left_alone(counts: list[int]):
    assert merged({"t": np.array([counts], dtype=float)}, (), GATE, aligned=False)["t"].tolist() == [
        [*range(len(counts))]
    ]


@given(st.lists(st.integers(0, 25), min_size=1, max_size=14))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_merging_again_changes_nothing(counts: list[int]):
    row = np.array(counts, dtype=float)
    if GATE.few(row.sum()):
        return
    own = merged({"t": row[None]}, (), GATE, aligned=False)["t"][0]
    again = merged({"t": sums(row, own)[None]}, (), GATE, aligned=False)["t"][0]
    assert not GATE.few(sums(sums(row, own), again)).any()
    assert again.max() <= own.max()


# What the verdict says ----------------------------------------------------------------------------------------


def test_people_left_out_are_counted_by_reason_and_few_are_not_told():
    verdict = passes(left_out={"missing age": 2, "missing size": 7, "too old": 0})  # in each of three hospitals
    assert dict(verdict.left_out) == {"missing age": None, "missing size": None, "too old": 0}  # 6 would follow from 21
    verdict = passes(left_out={"missing age": 2, "missing size": 3, "too old": 7})  # 15 people follow from 21
    assert dict(verdict.left_out) == {"missing age": None, "missing size": None, "too old": 21}


def test_reasons_come_in_the_order_in_which_they_are_looked_at_also_over_the_wire():
    verdict = passes(left_out={"too old": 13, "missing size": 20, "missing age": 12})
    assert verdict.left_out == (("too old", 39), ("missing size", 60), ("missing age", 36))
    over = Verdict(**unpack(pack(verdict._asdict())))
    steps = [(r["step"], r["reason"]) for r in attrition(over)]
    assert steps[1:-1] == [("left out", "too old"), ("left out", "missing size"), ("left out", "missing age")]


def test_the_budget_is_a_quarter_of_people_times_columns():
    assert passes(np.random.default_rng(1).normal(size=(N, 4))).budget == N * 4 // 4


def test_small_cells_tells_everything():
    verdict = passes(left_out={"missing age": 2}, policy=SMALL)
    assert (verdict.left_out, verdict.k) == ((("missing age", 6),), 0)
    assert passes().k == 11


def test_the_verdict_is_of_totals_whatever_the_deal():
    x = np.random.default_rng(2).normal(size=(N, 2))
    one, other = passes(x, hospitals=3), passes(x, hospitals=5)
    assert one._replace(hospitals=0) == other._replace(hospitals=0)


# Every answer -------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """Two sums."""

    one: Sum
    other: Sum


@register("_gated")
@dataclass(frozen=True)
class Gated:
    """An analysis of which only the marks matter here."""

    def design(self, people: People) -> Design:
        return designs(np.random.default_rng(1).normal(size=(N, 2)))[0]

    @local(on="design", repeats=2)
    def pair(self, people: People) -> Pair:
        return Pair(people.count(), people.count())

    def flow(self) -> Flow[None]:
        yield ()


WANTED, ASK = Ask(Gated(), "design", (), "support"), Ask(Gated(), "pair")


def total(*parts: Design) -> Support:
    """What the network rests on."""
    made = [support_of(d) for d in parts]
    return Support(*(np.sum([getattr(p, f) for p in made], axis=0) for f in Support._fields))


def opened(policy: Policy = GATE, columns: int = 2) -> Gate:
    """A gate that has judged the design: of 90 people."""
    gate, parts = Gate(policy, columns), designs(np.random.default_rng(1).normal(size=(N, 2)))
    gate.settle(WANTED, parts[0], total(*parts))
    return gate


def vector(value: Any, **kind: Any) -> Sum:
    """A sum of three terms at most."""
    return Sum(np.asarray(value, dtype=float), ("terms",), (3,), **kind)


def pair(one: Sum, other: Sum | None = None) -> Pair:
    """An answer."""
    return Pair(one, other if other is not None else Sum(np.array(1.0)))


def test_nothing_leaves_before_its_design_was_judged():
    with pytest.raises(Violation, match="a design that was not judged"):
        Gate(GATE, 2).admit(ASK, pair(vector([1.0])), 30)
    opened().admit(ASK, pair(vector([1.0])), 30)


def test_a_refused_design_stays_closed():
    gate, parts = Gate(GATE, 2), designs(first(5))
    with pytest.raises(Violation, match="fewer than 11"):
        gate.settle(WANTED, parts[0], total(*parts))
    with pytest.raises(Violation, match="not judged"):
        gate.admit(ASK, pair(vector([1.0])), 30)


def test_another_analysis_or_group_is_another_design():
    for other in (replace(ASK, group="north"), Ask(Gated(), "pair", (1.0,), group="south")):
        with pytest.raises(Violation, match="not judged"):
            opened().admit(other, pair(vector([1.0])), 30)


def test_repeats():
    gate = opened(columns=9)
    for _ in range(2):
        gate.admit(ASK, pair(vector([1.0])), 30)
    with pytest.raises(Violation, match=r"_gated\.pair was asked more than 2 times"):
        gate.admit(ASK, pair(vector([1.0])), 30)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_are_finite(value: float):
    with pytest.raises(RangeError, match=r"_gated\.pair\.one is not finite; nothing was sent"):
        opened().admit(ASK, pair(vector([1.0, value])), 30)


def test_shapes_are_within_their_bounds():
    with pytest.raises(Violation, match=r"has shape \(4,\), the manifest allows \(3,\)"):
        opened().admit(ASK, pair(vector([1.0] * 4)), 30)
    with pytest.raises(Violation, match=r"has shape \(1, 1\)"):
        opened().admit(ASK, pair(vector([[1.0]])), 30)
    opened().admit(ASK, pair(vector([1.0] * 3)), 30)


def test_the_effective_number_here():
    with pytest.raises(Violation, match=r"an effective number of 4\.9 here"):
        opened().admit(ASK, pair(vector([1.0], effective=4.9)), 30)
    opened().admit(ASK, pair(vector([1.0], effective=5.0)), 30)
    opened().admit(ASK, pair(vector([0.0], effective=1.0)), 30)  # nothing is no number of anybody
    opened().admit(ASK, pair(vector([1.0], effective=1.0)), 0)  # nor is that of a hospital without people


def test_a_sum_may_need_a_class():
    with pytest.raises(Violation, match="needs the disclosure class 'model_weights'"):
        opened().admit(ASK, pair(vector([1.0], needs="model_weights")), 30)
    opened(allowed("model_weights")).admit(ASK, pair(vector([1.0], needs="model_weights")), 44)
    with pytest.raises(Violation, match="rests on fewer than 44 people here"):
        opened(allowed("model_weights")).admit(ASK, pair(vector([1.0], needs="model_weights")), 43)


def test_the_budget_of_numbers_counts_supports_values_and_symmetric_matrices_once():
    gate = opened(columns=4)
    before = gate.spent
    assert before == 2 * 3 // 2 + 1  # pairs of columns, people
    gate.admit(ASK, pair(vector([1.0, 2.0]), Sum(np.eye(3), ("a", "b"), (3, 3), symmetric=True)), 30)
    assert gate.spent == before + 2 + 6
    gate.admit(ASK, pair(vector([1.0], known=True), Sum(np.array(1.0), known=True)), 30)
    assert gate.spent == before + 8  # counts that the support holds already


def test_the_budget_ends_a_run():
    gate, many = opened(columns=1), Sum(np.ones(20), ("terms",), (20,))
    assert int(GATE.share * N) == 22
    with pytest.raises(Violation, match="24 distinct numbers") as error:
        gate.admit(ASK, pair(many), 30)
    assert "the budget is 22" in str(error.value)
    opened(columns=2).admit(ASK, pair(many), 30)


def test_what_a_class_frees_is_not_in_the_budget():
    many = Sum(np.ones(1000), ("cells",), (1000,), needs="fine_times")
    opened(allowed("fine_times"), columns=1).admit(ASK, pair(many), 30)


def test_a_small_design_has_a_small_budget_beside_a_large_one():
    """Numbers about 40 people are at most a quarter of 40 x columns, however many people others are about."""
    gate = opened(columns=2)
    small = [replace(d, n=13, rows=d.rows, x=d.x[:13]) for d in designs(np.random.default_rng(1).normal(size=(N, 2)))]
    wanted = replace(WANTED, group="small")
    gate.settle(wanted, small[0], total(*small))
    with pytest.raises(Violation, match="about 39 people and 2 columns; the budget is 19"):
        gate.admit(replace(ASK, group="small"), pair(Sum(np.ones(20), ("terms",), (20,))), 13)


# What leaves of a refusal -------------------------------------------------------------------------------------


def test_a_refusal_says_the_same_whatever_the_reason():
    assert str(Refused()) == Refused.uniform
    assert not issubclass(Violation, Refused)


def test_one_hospital_that_objects_stops_the_sum() -> None:
    few = first(30)  # ten in each hospital: enough in the network, too few in one alone
    assert passes(few).n == N
    made = designs(few)
    supports = [support_of(d, replace(GATE, own=i == 1)) for i, d in enumerate(made)]
    total = Support(*(np.sum([getattr(p, f) for p in supports], axis=0) for f in Support._fields))
    with pytest.raises(Violation, match="its own cells rest on 11 people too"):
        judge(made[0], total, GATE)


def test_a_model_has_at_most_so_many_columns_per_person() -> None:
    design = designs(np.random.default_rng(1).normal(size=N))
    with pytest.raises(Violation, match=r"1 columns for .* people; a hospital allows 0.0001 per person"):
        judge_clear(design, replace(GATE, parameters=0.0001))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=14), st.integers(0, 13), st.sampled_from([0, 1, 3, 11]))
def test_one_row_alone_is_merged_as_two_of_the_same(counts: list[int], mark: int, least: int) -> None:
    """One row leaps from edge to edge; two go step by step, and two of the same have the same edges."""
    row = np.array([counts], dtype=float)
    assert merging.edges(row, [mark], least) == merging.edges(np.repeat(row, 2, axis=0), [mark], least)
