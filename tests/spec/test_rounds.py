"""The heart, as a manual: how an analysis is written, what is asked when, and how it is driven.

The analysis of this file is the mean of a column. It is complete, and every other one is made of the same parts.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere import rounds, wire
from confrere.errors import ModelError, ProtocolError, StudyError, UserError, Waiting
from confrere.hospital.gate import Policy, judge_clear
from confrere.rounds import (
    Answer,
    Answers,
    Ask,
    Cells,
    Design,
    Flow,
    People,
    Round,
    Site,
    Sum,
    Verdict,
    added,
    ask,
    clear,
    drive,
    effective,
    find,
    installed,
    keep,
    local,
    name_of,
    one_by_one,
    register,
    same,
    step_of,
    support,
    supported,
    together,
    within,
)

OPEN = Policy(k=0, pairs=0, effective=0, effective_here=0, hospitals=1, share=1e9, parameters=1e9)


@dataclass(frozen=True)
class Records:
    """What a hospital holds: whatever the analyses of a study can read. `nobody` is the same table of nobody."""

    values: tuple[float, ...]

    def nobody(self) -> Records:
        return Records(())


# An analysis --------------------------------------------------------------------------------------------------


class Totals(NamedTuple):
    """What leaves a hospital: a NamedTuple of sums."""

    total: Sum  # ()
    people: Sum  # ()


class Square(NamedTuple):
    about: Sum  # ()


@register("_mean")  # a leading "_": a part of other analyses, that no study file can name
@dataclass(frozen=True)
class Mean:
    """A frozen dataclass. Its fields are the settings of a study; `flow` makes the finding out of sums alone."""

    scale: float = 1.0

    def design(self, people: People) -> Design:
        """The raw columns that steps work on. Made once per run, in the hospital; it never leaves."""
        x = np.array(people.table.values, dtype=float)[:, None]
        return Design(n=len(x), rows=np.ones(len(x), dtype=bool), x=x, names=("value",), columns=("value",))

    @local(on="design")
    def totals(self, people: People) -> Totals:
        """A step: pure, and run inside the hospitals. Only `people` makes a `Sum`."""
        return Totals(people.derived(people.design.x.sum() * self.scale), people.count())

    @local(on="design", repeats=3)
    def squares(self, people: People, centre: float) -> Square:
        """A step with a public argument."""
        return Square(people.derived(((people.design.x - centre) ** 2).sum()))

    @local(on="design")
    def outliers(self, people: People, above: float) -> list[int]:
        """A step whose result stays in its hospital: a worklist for its clinicians. It may be of any kind."""
        return [int(i) for i in np.flatnonzero(people.design.x[:, 0] > above)]

    @local(on="design")
    def listed(self, people: People) -> Square:
        """A later step may use what an earlier one kept."""
        return Square(people.derived(np.array(float(len(people.kept["outliers"])))))

    def unmarked(self, people: People) -> Totals:
        """Without @local nobody can ask for it."""
        return self.totals(people)

    def flow(self) -> Flow[float]:
        """A generator. It does no I/O and reads no clock, so that every hospital can run it as well."""
        got = yield from ask(self.totals)
        return float(got.total.value / got.people.value)


HOSPITALS = [Records((1.0, 2.0)), Records((3.0, 4.0, 5.0)), Records(())]


def answers(records: list[Records] = HOSPITALS, policy: Policy = OPEN) -> Answer:
    """Hospitals in this process, in the clear."""
    return clear(records, lambda designs: judge_clear(designs, policy))


def steps(flow: Flow[Any], answer: Answer | None = None) -> list[list[tuple[str, str]]]:
    """What a drive asks: (kind, step) of each ask of each round."""
    asked: list[list[tuple[str, str]]] = []
    drive(flow, answer or answers(), progress=lambda number, asks: asked.append([(a.kind, a.step) for a in asks]))
    return asked


# ask, support, keep -------------------------------------------------------------------------------------------


def test_a_flow_is_driven_to_its_finding():
    assert drive(supported(Mean().flow()), answers()) == 3.0


def test_ask_gives_the_same_namedtuple_with_the_totals():
    def flow() -> Flow[Totals]:
        return (yield from ask(Mean().totals))

    got = drive(supported(flow()), answers())
    assert isinstance(got, Totals)
    assert (float(got.total.value), float(got.people.value)) == (15.0, 5.0)


def test_arguments_go_by_position():
    def flow() -> Flow[Square]:
        return (yield from ask(Mean().squares, centre=3.0))

    with pytest.raises(StudyError, match=r"squares: arguments of an ask go by position, found \['centre'\]"):
        drive(flow(), answers())


def test_the_support_of_a_design_is_asked_by_itself_before_its_first_value_and_once():
    def flow() -> Flow[float]:
        mean = yield from Mean().flow()
        return float((yield from ask(Mean().squares, mean)).about.value)

    assert steps(supported(flow())) == [[("support", "design")], [("ask", "totals")], [("ask", "squares")]]


def test_without_supported_the_gate_has_nothing_to_judge_and_there_is_no_design():
    with pytest.raises(ProtocolError, match="names no design"):
        drive(Mean().flow(), answers())


def test_support_can_be_asked_to_see_the_verdict():
    def flow() -> Flow[Verdict]:
        return (yield from support(Mean().design))

    verdict = drive(supported(flow()), answers())
    assert (verdict.n, verdict.hospitals, verdict.left_out) == (5, 2, ())


def test_the_same_ask_again_is_answered_from_memory():
    """It would be the same sum, and spend the budget of numbers."""

    def flow() -> Flow[float]:
        mean, again = (yield from Mean().flow()), (yield from Mean().flow())
        one = yield from ask(Mean().squares, mean)
        assert one is (yield from ask(Mean().squares, mean))
        yield from ask(Mean().squares, mean + 1)
        return mean - again

    assert steps(supported(flow())) == [
        [("support", "design")], [("ask", "totals")], [("ask", "squares")], [("ask", "squares")],
    ]  # fmt: skip


def test_arrays_are_compared_by_value_in_equal_asks():
    one, other = (Ask(Mean(), "squares", (np.array([1.0, 2.0]),)) for _ in range(2))
    assert one.key == other.key
    assert one.key != Ask(Mean(), "squares", (np.array([1.0, 2.5]),)).key
    assert one.key != Ask(Mean(2.0), "squares", (np.array([1.0, 2.0]),)).key


def test_keep_leaves_its_result_in_the_hospital():
    site = Site(HOSPITALS[1])

    def flow() -> Flow[None]:
        return (yield from keep(Mean().outliers, 3.5))

    def here(asks: Round) -> Answers:
        return tuple(judge_clear([site.design(a)], OPEN) if a.kind == "support" else site.run(a) for a in asks)

    assert drive(supported(flow()), here) is None
    assert site.kept == {("_mean", "outliers"): [1, 2]}


def test_what_was_kept_is_there_in_later_steps():
    def flow() -> Flow[float]:
        yield from keep(Mean().outliers, 3.5)
        return float((yield from ask(Mean().listed)).about.value)

    assert drive(supported(flow()), answers()) == 2.0


# Several flows ------------------------------------------------------------------------------------------------


def longer() -> Flow[float]:
    """Two rounds."""
    mean = yield from Mean().flow()
    return float((yield from ask(Mean().squares, mean)).about.value)


def test_flows_compose_by_yield_from_and_share_rounds_together():
    flow = supported(together(Mean().flow(), longer(), Mean(2.0).flow()))
    asked: list[int] = []
    assert drive(flow, answers(), progress=lambda number, asks: asked.append(len(asks))) == (3.0, 10.0, 6.0)
    assert asked == [2, 2, 1]  # supports of Mean() and Mean(2.0); their totals, equal ones once; squares


def test_together_of_nothing_is_nothing():
    assert drive(together(), answers()) == ()


def failing() -> Flow[float]:
    """A flow that finds out from sums that there is no finding."""
    mean = yield from Mean().flow()
    raise ModelError(f"the mean {mean:g} is too large: ask for less")


def test_one_by_one_a_users_error_is_a_finding_and_the_others_go_on():
    first, error, last = drive(supported(one_by_one([Mean().flow(), failing(), longer()])), answers())
    assert (first, last) == (3.0, 10.0)
    assert isinstance(error, ModelError)


def test_one_by_one_other_errors_end_the_study():
    def broken() -> Flow[float]:
        yield from Mean().flow()
        raise ProtocolError("not what was agreed")

    with pytest.raises(ProtocolError):
        drive(supported(one_by_one([broken(), longer()])), answers())


def test_within_a_group_all_asks_carry_its_name():
    asked: list[Ask] = []
    drive(supported(within("north", longer())), answers(), progress=lambda number, asks: asked.extend(asks))
    assert [(a.step, a.group) for a in asked] == [("design", "north"), ("totals", "north"), ("squares", "north")]


def test_a_group_has_designs_and_sums_of_its_own():
    flow = supported(together(Mean().flow(), within("north", Mean().flow())))
    assert steps(flow) == [[("support", "design")] * 2, [("ask", "totals")] * 2]


# The drive ----------------------------------------------------------------------------------------------------


def test_progress_is_told_every_round_before_it_is_asked():
    told: list[int] = []
    drive(supported(longer()), answers(), progress=lambda number, asks: told.append(number))
    assert told == [1, 2, 3]


def test_a_cancelled_drive_asks_nothing_more():
    asked: list[str] = []

    def answer(asks: Round) -> Answers:
        asked.extend(a.step for a in asks)
        return inner(asks)

    inner = answers()
    with pytest.raises(Waiting, match="cancelled before round 2; nothing more was asked"):
        drive(supported(longer()), answer, cancelled=lambda: bool(asked))
    assert asked == ["design"]


def test_a_deadline_ends_between_rounds():
    inner = answers()

    def slow(asks: Round) -> Answers:
        time.sleep(0.05)
        return inner(asks)

    with pytest.raises(Waiting, match=r"the deadline of 0\.02 s passed before round 2"):
        drive(supported(longer()), slow, deadline=0.02)
    assert drive(supported(longer()), slow, deadline=60) == 10.0


def test_everybody_runs_the_flow_and_makes_the_same_asks():
    """A hospital's copy, sent the same answers, asks what the coordinator asks."""
    copy, inner = supported(longer()), answers()
    expected = [next(copy)]

    def answer(asks: Round) -> Answers:
        assert same(tuple(a.plain() for a in asks), tuple(a.plain() for a in expected[-1]))
        got = inner(asks)
        try:
            expected.append(copy.send(got))
        except StopIteration as end:
            expected.append(end.value)
        return got

    assert drive(supported(longer()), answer) == expected[-1] == 10.0


# Asks are data ------------------------------------------------------------------------------------------------


def test_an_ask_is_plain_data_and_no_code():
    plain = Ask(Mean(2.0), "squares", (3.0,), group="north").plain()
    assert plain == {
        "analysis": "_mean", "settings": {"scale": 2.0}, "step": "squares", "args": (3.0,), "kind": "ask",
        "group": "north",
    }  # fmt: skip
    assert same(wire.unpack(wire.pack(plain)), plain)


def test_only_marked_steps_can_be_asked():
    for step in ("unmarked", "flow", "__init__", "nothing"):
        with pytest.raises(ProtocolError, match=f"_mean has no step '{step}'"):
            step_of(Ask(Mean(), step))
    assert step_of(Ask(Mean(), "squares"))[:2] == ("design", 3)


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        (1.0, 1.0 + 5e-8, True), (1.0, 1.0 + 2e-7, False), (0.0, 1e-13, True), (0.0, 1e-9, False),
        ((1.0, "a"), [1.0, "a"], True), ({"a": 1}, {"a": 2}, False), ({"a": 1}, {"b": 1}, False), (1, 1.0, False),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-9]), True), (np.zeros(2), np.zeros(3), False), (True, 1, False),
        (float("nan"), float("nan"), False),
    ],
)  # fmt: skip
def test_arguments_are_the_same_to_one_in_ten_million(a: Any, b: Any, alike: bool):
    assert same(a, b) is alike


# Sums ---------------------------------------------------------------------------------------------------------


def of(x: Any, **kind: Any) -> People:
    """People with a design of these columns."""
    x = np.asarray(x, dtype=float)
    names = tuple(f"x{j}" for j in range(x.shape[1]))
    return People(None, Design(n=len(x), rows=np.ones(len(x), dtype=bool), x=x, names=names, **kind))


def test_counts():
    people = of([[1.0], [2.0], [3.0]])
    assert float(people.count().value) == 3
    assert float(people.count(np.array([True, False, True])).value) == 2
    assert people.count().scale == 0


def test_moments_say_their_dimensions_bounds_and_weights():
    x, w, y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 3.0]), np.array([1.0, -1.0])
    gram, score = of(x).moments(x, w), of(x).moments(x, w, y)
    assert np.array_equal(gram.value, x.T @ np.diag(w) @ x)
    assert (gram.dims, gram.bounds, gram.symmetric) == (("terms", "terms"), (2, 2), True)
    assert gram.effective == 16 / 10
    assert np.array_equal(score.value, x.T @ (w * y))
    assert of(x).moments(x).effective == np.inf


def test_a_symmetric_matrix_travels_once():
    gram = of(np.eye(3)).moments(np.arange(9.0).reshape(3, 3))
    assert gram.numbers().size == 6
    assert np.array_equal(gram.filled(gram.numbers()).value, gram.value)


@given(st.integers(1, 6), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_filled_is_the_inverse_of_numbers(p: int, symmetric: bool, seed: int):
    values = np.random.default_rng(seed).normal(size=(p, p))
    s = Sum(values + values.T if symmetric else values, ("terms", "terms"), (p, p), symmetric=symmetric)
    again = s.filled(s.numbers())
    assert np.array_equal(again.value, s.value)
    assert (again.dims, again.bounds, again.symmetric) == (s.dims, s.bounds, s.symmetric)


def test_cells_follow_the_grid_that_the_hospitals_agreed():
    index = np.array([0, 1, 3, 4, 5, -1])  # two groups of three ladder cells; one person in none
    design = Design(n=6, rows=np.ones(6, dtype=bool), cells={"time": Cells(index, (2, 3), bound=2)})
    grid = np.array([[0, 0, 1], [-1, -1, -1]])
    people = People(None, design, Verdict(6, 3, {"time": grid}, (), 10))
    assert people.cells("time").value.tolist() == [[2, 0], [0, 0]]  # the second group is suppressed
    assert people.cells("time", np.arange(6.0)).value.tolist() == [[1, 0], [0, 0]]
    table = np.arange(18.0).reshape(6, 3)
    sums = people.cells("time", table)
    assert sums.value.tolist() == [[[3, 5, 7], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    column_by_column = people.cells("time", iter(table.T))
    assert np.array_equal(column_by_column.value, sums.value)
    assert column_by_column.bounds == sums.bounds == (2, 2, 3)
    assert people.cells("time").bounds == (2, 2)


def test_cells_that_were_not_judged_have_no_grid():
    people = of([[1.0]], cells={"time": Cells(np.zeros(1, dtype=np.int64), (1, 1))})
    with pytest.raises(ProtocolError, match="'time' have not been judged"):
        people.cells("time")


def test_a_sum_is_read_as_an_array():
    assert np.asarray(Sum(np.arange(3.0))).tolist() == [0, 1, 2]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_effective_number_lies_between_one_and_the_people(weights: list[float]):
    a = np.array(weights)
    assert effective(None) == np.inf
    if not (a**2).sum():
        assert effective(a) == np.inf
    else:
        assert 1 - 1e-9 <= effective(a) <= a.size + 1e-9
        assert effective(a) == pytest.approx(effective(3 * a))


def test_what_is_expensive_is_made_once():
    design, made = of([[1.0]]).design, []
    assert design.once("tiles", lambda: made.append(1) or "tiles") == "tiles"
    assert design.once("tiles", lambda: made.append(1) or "others") == "tiles"
    assert made == [1]


# A hospital ---------------------------------------------------------------------------------------------------


def test_a_site_with_few_people_takes_part_with_nothing():
    wanted = Ask(Mean(), "design", (), "support")
    assert Site(HOSPITALS[1]).design(wanted, least=3).n == 3
    assert Site(HOSPITALS[0]).design(wanted, least=3).n == 0
    assert Site(HOSPITALS[1]).design(wanted, member=False).n == 0


def test_a_design_may_say_that_not_all_of_its_people_count(monkeypatch: pytest.MonkeyPatch):
    """Of who trains and who is measured on, those who train must be enough."""
    made, wanted = Mean.design, Ask(Mean(), "design", (), "support")
    monkeypatch.setattr(Mean, "design", lambda self, people: replace(d := made(self, people), crowd=min(d.n, 2)))
    assert [Site(HOSPITALS[1]).design(wanted, least=least).n for least in (2, 3)] == [3, 0]


def test_a_site_makes_a_design_once_and_remembers_the_verdict():
    site, wanted = Site(HOSPITALS[1]), Ask(Mean(), "design", (), "support")
    site.design(wanted)
    site.settle(wanted, Verdict(5, 3, {}, (), 100))
    assert site.people(Ask(Mean(), "totals")) == 3
    assert float(site.run(Ask(Mean(), "totals")).total.value) == 12.0


def test_hospitals_sums_are_added_field_by_field():
    parts = [Totals(Sum(np.array(1.0)), Sum(np.array(2.0))), Totals(Sum(np.array(10.0)), Sum(np.array(20.0)))]
    total = added(parts)
    assert isinstance(total, Totals)
    assert (float(total.total.value), float(total.people.value)) == (11.0, 22.0)


# The registry -------------------------------------------------------------------------------------------------


def test_an_analysis_has_a_name_by_which_a_study_finds_it():
    assert name_of(Mean()) == "_mean"
    assert find("_mean") is Mean
    assert find("cox").__name__ == "Cox"


def test_parts_of_analyses_are_not_installed_methods():
    assert "_mean" not in installed()
    assert {"cox", "kaplan_meier", "logrank"} <= set(installed())


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(StudyError, match=r"no analysis is called 'coxx'; installed are .*cox"):
        find("coxx")


def test_an_analysis_is_a_frozen_dataclass():
    class Loose:
        pass

    @dataclass
    class Melting:
        x: list[int] = field(default_factory=list)

    for cls in (Loose, Melting):
        with pytest.raises(StudyError, match="not a frozen dataclass"):
            register("_loose")(cls)


def test_an_unregistered_analysis_cannot_be_asked():
    @dataclass(frozen=True)
    class Stray:
        pass

    with pytest.raises(StudyError, match="Stray is not a registered analysis: add @register"):
        name_of(Stray())


PLUGIN = '''
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.analyses.finding import Finding
from confrere.rounds import Design, Flow, People, Sum, ask, local, register, support
from confrere.study.ground import Ground, design_of


class Total(NamedTuple):
    total: Sum


@register("the_sum")
@dataclass(frozen=True)
class TheSum:
    """The sum of a column (Nobody 2026)."""

    formula: str
    ground: Ground = Ground()

    def design(self, people: People) -> Design:
        return design_of(people, self.formula, self.ground)

    @local(on="design")
    def total(self, people: People) -> Total:
        return Total(people.derived(people.design.data.value.sum()))

    def flow(self) -> Flow[Finding]:
        verdict = yield from support(self.design)
        got = yield from ask(self.total)
        return Finding("the_sum", verdict.n, verdict.hospitals, {"sum": [{"estimate": float(got.total.value)}]})
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another's package, installed: a module, and a dist-info that names its entry point."""
    (tmp_path / "the_sum_package.py").write_text(PLUGIN)
    info = tmp_path / "the_sum_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: the-sum-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[confrere.analyses]\nthe_sum = the_sum_package:TheSum\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    module = sys.modules.pop("the_sum_package", None)
    if module is not None:
        rounds._names.pop(module.TheSum)


@pytest.mark.usefixtures("plugin")
def test_an_analysis_of_others_is_found_by_its_entry_point():
    import pandas as pd

    from confrere.console.local import Local
    from confrere.study.file import parse

    assert "the_sum" in installed()
    assert "the_sum_package" not in sys.modules  # imported on demand
    study = parse(
        '[study]\nid = "sum"\npurpose = "research"\n[data]\ntable = "people"\n'
        '[[analysis]]\nname = "s"\nmethod = "the_sum"\nformula = "y ~ x"\n'
    )
    people = pd.DataFrame({"x": np.tile([0.0, 1.0], 30), "y": np.arange(60.0)})
    results = Local({name: people[i::3] for i, name in enumerate("abc")}).run(study)
    assert results["s"].tables == {"sum": [{"estimate": 1770.0}]}


def test_without_it_the_name_is_unknown():
    assert "the_sum" not in installed()
    with pytest.raises(StudyError, match="no analysis is called 'the_sum'"):
        find("the_sum")


# Types --------------------------------------------------------------------------------------------------------

TYPED = """
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from confrere.rounds import Design, Flow, People, Sum, ask, drive, keep, local, support, supported


class Gram(NamedTuple):
    xtx: Sum
    n: Sum


@dataclass(frozen=True)
class Linear:
    formula: str

    def design(self, people: People) -> Design:
        return Design(n=0, rows=np.zeros(0, dtype=bool))

    @local(on="design")
    def gram(self, people: People, centre: float) -> Gram:
        return Gram(people.moments(people.design.x), people.count())

    @local(on="design")
    def bare(self, people: People) -> Gram:
        return Gram(people.design.x.T @ people.design.x, people.count())  # error: arg-type, an array is no Sum

    @local(on="design")
    def unsummed(self, people: People) -> list[float]:
        return [1.0]

    def flow(self) -> Flow[float]:
        got = yield from ask(self.gram, 1.0)
        return float(got.n.value)

    def misspelt(self) -> Flow[float]:
        got = yield from ask(self.gram, 1.0)
        return float(got.xtc.value)  # error: attr-defined, a sum of that name does not leave

    def wrong_argument(self) -> Flow[float]:
        got = yield from ask(self.gram, "one")  # error: arg-type, the step takes a number
        return float(got.n.value)

    def missing_argument(self) -> Flow[float]:
        got = yield from ask(self.gram)  # error: call-arg, the step takes one argument
        return float(got.n.value)

    def no_sums(self) -> Flow[None]:
        yield from ask(self.unsummed)  # error: type-var, what leaves is a tuple of sums
        yield from keep(self.unsummed)

    def of_a_verdict(self) -> Flow[int]:
        verdict = yield from support(self.design)
        yield from support(self.gram)  # error: arg-type, support is asked of a design
        return verdict.n

    def returns_another(self) -> Flow[str]:
        got = yield from ask(self.gram, 1.0)
        return got.n  # error: return-value, the finding is text


finding: float = drive(supported(Linear("y ~ x").flow()), lambda asks: ())
wrong: str = drive(supported(Linear("y ~ x").flow()), lambda asks: ())  # error: arg-type, the finding is a number
"""


def test_wrong_asks_are_type_errors(tmp_path: Path):
    """mypy --strict finds every line marked `error`, and no other."""
    root = Path(__file__).parents[2]
    path = tmp_path / "snippets.py"
    path.write_text(TYPED)
    options = ["--config-file", "pyproject.toml", "--no-error-summary", "--cache-dir", ".mypy_cache"]
    command = [sys.executable, "-m", "mypy", *options, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False).stdout
    found = {int(line.split(":")[1]) for line in said.splitlines() if " error: " in line}
    wanted = {i for i, line in enumerate(TYPED.splitlines(), 1) if "# error: " in line}
    assert found == wanted, f"{textwrap.indent(said, '  ')}"


def test_users_errors_are_one_tree():
    assert issubclass(ModelError, UserError)
    assert not issubclass(ProtocolError, UserError)
