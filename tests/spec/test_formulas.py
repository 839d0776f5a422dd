"""Formulas: what they mean (formulaic and R's ns/bs are the slow twins), and what they refuse."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from confrere.errors import DataError, FormulaError
from confrere.study import splines
from confrere.study.formulas import model
from confrere.study.rows import side_by_side
from confrere.study.schema import Column, Schema

SCHEMA = Schema(
    {
        "size": Column("size", ("<=20", "20-50", ">50")),
        "sex": Column("sex", ("F", "M")),
        "state": Column("state", ("censored", "progression", "death")),
        "grade": Column("grade", ("1", "2", "3")),
    }
)


def table(n: int = 60, seed: int = 1) -> pd.DataFrame:
    g = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": g.uniform(21, 89, n),
            "nodes": g.integers(0, 20, n).astype(float),
            "ph.ecog": g.integers(0, 4, n).astype(float),
            "my col": g.normal(size=n),
            "size": pd.Categorical(g.choice(SCHEMA.levels("size"), n), categories=SCHEMA.levels("size")),
            "sex": pd.Categorical(g.choice(["F", "M"], n), categories=["F", "M"]),
            "state": pd.Categorical(g.choice(SCHEMA.levels("state"), n), categories=SCHEMA.levels("state")),
            "time": g.uniform(1, 3000, n),
            "dead": g.integers(0, 2, n).astype(float),
        }
    )


# --- meaning ---------------------------------------------------------------------------------------------


def test_a_cox_formula_is_known_without_data() -> None:
    m = model("Surv(rtime, recur) ~ hormon + age + C(size) + hormon:age + nodes", SCHEMA)
    assert m.names == ("hormon", "age", "C(size)[T.20-50]", "C(size)[T.>50]", "nodes", "hormon:age")
    assert m.columns == ("age", "hormon", "nodes", "recur", "rtime", "size")
    assert m.intercept
    assert m.outcome is not None
    assert (m.outcome.kind, m.outcome.time.text, m.outcome.event.text) == ("surv", "rtime", "recur")
    assert m is model("Surv(rtime, recur) ~ hormon + age + C(size) + hormon:age + nodes", SCHEMA)  # cached


TERMS = ["age", "nodes", "ph.ecog", "`my col`", "size", "sex", "log(nodes + 1)", "I(age > 60)", "I(age ** 2)"]
TERMS += ["bs(age, knots=[40, 60], lower_bound=20, upper_bound=90)", "exp(`my col`)", "I(-nodes / 3)"]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_it_agrees_with_formulaic(data: st.DataObject) -> None:
    """The slow twin: formulaic evaluates the same formula on the rows themselves."""
    import formulaic

    pick = st.sampled_from(TERMS)
    pieces = data.draw(st.lists(st.lists(pick, min_size=1, max_size=3, unique=True), min_size=1, max_size=4))
    joined = [data.draw(st.sampled_from([":", "*", " %in% "])).join(piece) for piece in pieces]
    formula = data.draw(st.sampled_from(["", "0 + ", "1 + "])) + " + ".join(joined)
    formula += data.draw(st.sampled_from(["", " - 1", " - age", " + (age + sex)^2"]))
    frame = table(seed=data.draw(st.integers(0, 5)))
    slow = formula.replace("ph.ecog", "`ph.ecog`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twin = formulaic.model_matrix(slow, frame, na_action="ignore")
    m = model(formula, SCHEMA)
    names = [n.replace("`ph.ecog`", "ph.ecog") for n in twin.columns]
    assert m.intercept == ("Intercept" in names)
    assert list(m.names) == [n for n in names if n != "Intercept"]
    wanted = twin.drop(columns="Intercept", errors="ignore").to_numpy(dtype=float)
    np.testing.assert_allclose(m.evaluate(frame).x, wanted, rtol=1e-12, atol=1e-12)


def test_rows_with_gaps_are_kept_and_are_nan() -> None:
    frame = table(4)
    frame.loc[0, "age"] = np.nan
    frame.loc[1, "size"] = None
    x = model("I(age > 50) + I(age ** 0) + size + age:size + I(size != '>50')", SCHEMA).evaluate(frame).x
    assert x.shape[0] == 4
    assert np.isnan(x[0, :2]).all()
    assert np.isnan(x[1, 2:4]).all()
    assert np.isnan(x[1, -1])
    assert np.isfinite(x[2:]).all()


def test_an_empty_table_gives_an_empty_design() -> None:
    got = model("Surv(time, dead) ~ age*size + strata(sex) + ns(age, knots=[50], Boundary.knots=[20, 90])", SCHEMA)
    assert got.evaluate(table(0)).x.shape == (0, len(got.names))


def test_dotted_and_quoted_columns() -> None:
    m = model("log(ph.ecog + 1) + `my col` + I(`my col` * 2) + `ph.ecog`", SCHEMA)
    assert m.columns == ("my col", "ph.ecog")
    assert m.names == ("log(ph.ecog + 1)", "my col", "I(`my col` * 2)", "ph.ecog")


def test_reference_level_and_order_of_levels() -> None:
    m = model('C(size, ref="20-50") + C(sex, levels=["M", "F"])', SCHEMA)
    assert m.names == (
        "C(size, ref='20-50')[T.<=20]", "C(size, ref='20-50')[T.>50]", "C(sex, levels=['M', 'F'])[T.F]",
    )  # fmt: skip
    frame = table()
    x = m.evaluate(frame).x
    np.testing.assert_array_equal(x[:, 0], frame["size"] == "<=20")
    np.testing.assert_array_equal(x[:, 2], frame["sex"] == "F")


def test_numeric_columns_as_categories() -> None:
    m = model("C(ph.ecog, levels=[0, 1, 2, 3])", SCHEMA)
    frame = table()
    np.testing.assert_array_equal(m.evaluate(frame).x[:, 1], frame["ph.ecog"] == 2)
    with pytest.raises(DataError, match=r"'ph.ecog' has \d+ values that are none of the levels"):
        model("C(ph.ecog, levels=[0, 1])", SCHEMA).evaluate(frame)


def test_declared_whole_numbers_match_their_floats() -> None:
    frame = pd.DataFrame({"grade": [1.0, 3.0, np.nan]})
    np.testing.assert_array_equal(model("grade", SCHEMA).evaluate(frame).x[:2, 1], [0, 1])


def test_surv_with_entry_comparison_strata_and_offset() -> None:
    m = model("Surv(entry, time, status == 2) ~ age + strata(sex, size) + offset(log(age)) + offset(nodes)", SCHEMA)
    frame = table(50)
    frame["entry"], frame["status"] = 0.0, np.r_[[1.0, 2.0] * 24, np.nan, 1]
    got = m.evaluate(frame)
    assert m.names == ("age",)
    assert m.strata == ("sex", "size")
    assert m.strata_levels[:2] == ("sex=F, size=<=20", "sex=F, size=20-50")
    np.testing.assert_array_equal(got.event, np.r_[[0.0, 1.0] * 24, np.nan, 0])
    np.testing.assert_array_equal(got.strata, frame["sex"].cat.codes * 3 + frame["size"].cat.codes)
    np.testing.assert_allclose(got.offset, np.log(frame["age"]) + frame["nodes"])
    frame.loc[3, "sex"] = None
    assert m.evaluate(frame).strata[3] == -1


def test_a_cause_is_coded_by_its_level() -> None:
    m = model("Surv(time, state) ~ age", SCHEMA)
    frame = table(5)
    frame.loc[0, "state"] = None
    event = m.evaluate(frame).event
    assert m.outcome.causes == ("censored", "progression", "death")
    assert np.isnan(event[0])
    np.testing.assert_array_equal(event[1:], frame["state"].cat.codes[1:])


def test_outcomes_that_are_values() -> None:
    frame = table()
    np.testing.assert_allclose(model("log(time) ~ 1").evaluate(frame).value, np.log(frame["time"]))
    np.testing.assert_array_equal(model("sex ~ 1", SCHEMA).evaluate(frame).value, frame["sex"] == "M")
    assert model("~ age").outcome is None
    assert model("~ age").evaluate(frame).value is None
    with pytest.raises(FormulaError, match=r'3 levels; compare it with one, such as I\(size == ">50"\)'):
        model("size ~ 1", SCHEMA)


def test_standardize_and_center_use_the_network() -> None:
    m = model("standardize(log(nodes + 1)) + center(age) + I(center(age) ** 2)", SCHEMA)
    assert m.pooled == ("log(nodes + 1)", "age")
    frame = table()
    inner = m.inner(frame)
    np.testing.assert_allclose(inner["log(nodes + 1)"], np.log(frame["nodes"] + 1))
    x = m.evaluate(frame, {"log(nodes + 1)": (1.5, 0.5), "age": (60.0, 10.0)}).x
    np.testing.assert_allclose(x[:, 0], (inner["log(nodes + 1)"] - 1.5) / 0.5)
    np.testing.assert_allclose(x[:, 1], frame["age"] - 60)
    np.testing.assert_allclose(x[:, 2], (frame["age"] - 60) ** 2)
    with pytest.raises(FormulaError, match="needed first"):
        m.evaluate(frame)
    with pytest.raises(DataError, match="'age' is constant over all hospitals"):
        m.evaluate(frame, {"log(nodes + 1)": (1.5, 0.5), "age": (60.0, 0.0)})


def test_raw_polynomials() -> None:
    m = model("poly(age, 3, raw=TRUE)")
    assert m.names == tuple(f"poly(age, 3, raw=True)[{i}]" for i in (1, 2, 3))
    frame = table()
    np.testing.assert_allclose(m.evaluate(frame).x[:, 2], frame["age"] ** 3)


# R 4.2.2: x <- c(18, 20, 33.5, 45, 50, 61, 79, 80, 85); ns(x, knots=c(40, 55, 65), Boundary.knots=c(20, 80)) etc.
X = np.array([18, 20, 33.5, 45, 50, 61, 79, 80, 85])
NS3 = [
    [0, 0.0310691362284091, -0.0828510299424243, 0.0517818937140152],
    [0, 0, 0, 0],
    [0.0781071428571429, -0.1692713118444218, 0.4513901649184580, -0.2821188530740363],
    [0.471031746031746, -0.1308457966214991, 0.3711443465462196, -0.2319652165913873],
    [0.657142857142857, -0.0168820424376907, 0.2227965576116197, -0.1392478485072623],
    [0.434511111111111, 0.4838471490199014, 0.1449409359469295, -0.0689880849668310],
    [6.66666666666667e-05, -0.0736006802721089, 0.3959129251700680, 0.6776210884353742],
    [0, -0.1530612244897959, 0.4081632653061225, 0.7448979591836734],
    [0, -0.5510204081632654, 0.4693877551020407, 1.0816326530612246],
]
NS_FULL = [-3.89332590941915e-01, -0.2319821627426272, 0.695946488227882, -0.4639643254852543]
NS_BARE = [-0.026726124191242435, 0, 0.180401338290886448, 0.334076552390530523, 0.400891862868636539]
BS3_AT_61 = [0, 0.00568888888888889, 0.434511111111111, 0.52524, 0.034560, 0]


def test_splines_equal_r() -> None:
    np.testing.assert_allclose(splines.natural(X, [40, 55, 65], (20, 80), False), NS3, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(splines.natural(X, [40, 60], (20, 80), True)[0], NS_FULL, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(splines.natural(X[:5], [], (20, 80), False)[:, 0], NS_BARE, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(splines.b_spline(X, [40, 55, 65], (20, 80), 3, False)[5], BS3_AT_61, atol=1e-14)
    m = model("ns(age, knots=c(40, 55, 65), Boundary.knots=c(20, 80))")
    assert m.names[0] == "ns(age, knots=c(40, 55, 65), Boundary.knots=c(20, 80))[1]"
    np.testing.assert_allclose(m.evaluate(pd.DataFrame({"age": X})).x, NS3, rtol=1e-12, atol=1e-14)


@given(st.lists(st.floats(10, 100), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_splines_equal_formulaic(values: list[float]) -> None:
    from formulaic.transforms import TRANSFORMS

    x = np.array(values)
    bounds = {"lower_bound": 20, "upper_bound": 90}
    slow = TRANSFORMS["cr"](x, knots=[40, 60], **bounds)
    twin = np.column_stack([slow[i] for i in range(1, 5)])
    np.testing.assert_allclose(splines.cubic_regression(x, [40, 60], (20, 90)), twin, atol=1e-10)
    slow = TRANSFORMS["bs"](x, knots=[40, 60], extrapolation="extend", include_intercept=True, **bounds)
    twin = np.column_stack([slow[i] for i in range(6)])
    np.testing.assert_allclose(splines.b_spline(x, [40, 60], (20, 90), 3, True), twin, atol=1e-9)


def test_bases_lose_a_column_to_the_intercept() -> None:
    cr = "cr(age, knots=[50], lower_bound=20, upper_bound=90)"
    assert model(cr).names == (f"{cr}[2]", f"{cr}[3]")
    assert len(model(f"0 + {cr}").names) == 3
    with pytest.raises(DataError, match=r"people have values of 'age' outside the bounds 40 to 60"):
        model("bs(age, knots=[], lower_bound=40, upper_bound=60)").evaluate(table())
    clipped = model('bs(age, knots=[], lower_bound=40, upper_bound=60, extrapolation="clip")').evaluate(table())
    assert 0 <= clipped.x.min() <= clipped.x.max() <= 1


# --- what is refused -------------------------------------------------------------------------------------

HOSTILE = [
    "np.savetxt('x', [1])", "log(np.savetxt('x', [1]))", "__import__('os')", "log(__import__('os'))", "().__class__",
    "x.__class__", "log(x.__class__)", "I((x).real)", "{__import__('os')}", "{x}", "f'{x}'", "I(f'{x}')", "(y:=x)",
    "I((y:=x))", "I(lambda: x)", "I([x for x in y])", "I(x if y else z)", "I(x[0])", "log(x)[0]", "I({1: x})",
    "I({x})", "I(x or y)", "I(not x)", "I(x @ y)", "I(x << 9)", "I(~x)", "I(x // y)", "I(await_)(x)", "log(*x)",
    "log(**x)", "exp(log)(x)", "C(x)(y)", "C(x, contr.treatment(base=1))", "C(x, contr=Sum)", "Q('x')", "hashed(x)",
    "lag(x)", "eval('x')", "getattr(x, 'y')", "open('/etc/passwd')", "x; y", "x\\ny", "`x` `y`", "I(x, y)", "I('x')",
    "I(1)", "log()", "log(x, base=2)", "I(1j * x)", "I(b'x')", "I(...)", "ｎp(x)", "lo𝓰(x)", "x\u202ey",
    "x\x00", "'x'", "9**9**9", "x**99999999", "(a + b)^999999999", "2**3**9999999", "I(9 ** 9999999 * 1e999 * x)",
    "a*b*c*d*e*f*g*h*i*j*k*l*m*n*o*p", "(a+b+c+d+e+f+g+h+i+j+k)^6", "I(" * 99 + "x" + ")" * 99, "(" * 99, "x)" * 9,
    "I(" + "-" * 9000 + "x)", "I(" + "-" * 2500 + "x)", "I(" + "+".join("x" * 400) + ")", "+".join("x" * 9999),
    "+".join(f"x{i}" for i in range(400)), "x" * 9000, "", "~", "x ~", "y ~ x ~ z", "a | b", ".", "y ~ .", "a +* b",
    "a b", "2:a", "2.5 + a", "a[b]", "I(" + "9" * 5000 + " * x)", "1" * 5000, "_private", "log(_x)", "I(x__y)",
    "`a\tb`", "strata(a):b", "age:offset(b)", "strata()", "offset(a, b)", "Surv(a, b)", "log(Surv(a, b))",
]  # fmt: skip


@pytest.mark.parametrize("formula", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_formulas_are_refused(formula: str) -> None:
    with pytest.raises(FormulaError):
        model(formula, SCHEMA)


@given(st.text(alphabet="xyz.()[]{}'\"`~+-*/^:%|,=<>!019 \\_eE\u202eéｎ", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_model_or_a_formula_error(text: str) -> None:
    try:
        m = model(text, SCHEMA)
    except FormulaError:
        return
    assert len(set(m.names)) == len(m.names)


def test_formulaic_never_evaluates_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its evaluator is taken away; formulas work all the same."""
    import formulaic.materializers.base as base

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("formulaic was made to evaluate")

    monkeypatch.setattr(base, "stateful_eval", refuse)
    m = model("log(age + 2) * C(size) + poly(age, 2, raw=True) + I(age * 7)", SCHEMA)
    assert np.isfinite(m.evaluate(table()).x).all()


@pytest.mark.parametrize(
    ("formula", "remedy"),
    [
        ("scale(age)", r"use standardize\(x\)"),
        ("poly(age, 2)", "write raw=True"),
        ("bs(age, df=4)", r"knots=\[...\]"),
        ("ns(age, knots=[50])", "lower_bound=..., upper_bound=..."),
        ("cr(age, lower_bound=1, upper_bound=9)", "write the inner knots"),
        ("ns(age, knots=[95], Boundary.knots=[20, 90])", "between the bounds"),
        ("ns(age, knot=[50], Boundary.knots=[20, 90])", "did you mean 'knots'"),
        ("poly(age, 99, raw=True)", "whole number from 1 to 20"),
        ("C(age)", r"declare levels in \[data.columns.age\]"),
        ("C(age, levels=['a', 'b'])", r"under \[data.columns.age\]"),
        ("C(size, levels=['<=20', '>50'])", "must be those declared"),
        ("C(size, ref='>5')", "did you mean '>50'"),
        ("C(log(age))", r"write I\(...\)"),
        ("log(size)", "has levels and is no number"),
        ("I(size == '50')", "'50' is no level of 'size'"),
        ("I(size < '>50')", "by == or !="),
        ("I(20 < age < 30)", "two things at a time"),
        ("I(age ^ 2)", r"write \*\* for powers"),
        ("strata(age)", r"levels = \[...\] under \[data.columns.age\]"),
        ("np.log(age)", "without a prefix"),
        ("standardize(center(age))", "another pooled function"),
        ("Surv(time) ~ age", r"write Surv\(time, event\)"),
        ("Surv(time, dead, type='x') ~ age", r"write Surv\(time, event\)"),
        ("Surv(size, dead) ~ age", "has levels and is no number"),
    ],
)
def test_refusals_state_the_remedy(formula: str, remedy: str) -> None:
    with pytest.raises(FormulaError, match=remedy):
        model(formula, SCHEMA)


def test_unknown_columns_are_suggested() -> None:
    with pytest.raises(FormulaError, match=r"unknown column 'aeg' .* did you mean 'age'"):
        model("aeg + size", SCHEMA, known=("age", "size"))
    with pytest.raises(DataError, match="no column 'aeg' in the table; did you mean 'age'"):
        model("aeg").evaluate(table())


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("log(nodes)", r"'log\(nodes\)' does not exist for \d+ people: log is defined for numbers above 0 .*'nodes'"),
        ("sqrt(nodes - 9)", "from 0 on"),
        ("I(1 / nodes)", "division by zero"),
        ("exp(age * 99)", "too large"),
        ("I(`my col` ** 0.5)", "does not exist"),
        ("name", r"column 'name' holds text; .*levels = \[...\] under \[data.columns.name\]"),
        ("odd", "column 'odd' has 1 infinite values"),
        ("Surv(time, nodes) ~ age", r"neither 0 nor 1 for \d+ people; .*== 2"),
        ("bad ~ 1", "column 'bad' has 2 values that are no declared level"),
    ],
)
def test_bad_values_name_column_rule_and_remedy_but_no_value(formula: str, message: str) -> None:
    frame = table()
    frame["name"], frame["odd"] = "Miller", np.r_[np.inf, frame["age"][1:]]
    frame["bad"] = ["secret", "secret", *["no"] * 58]
    schema = Schema({**SCHEMA.columns, "bad": Column("bad", ("no", "yes"))})
    with pytest.raises(DataError, match=message) as caught:
        model(formula, schema).evaluate(frame)
    assert "Miller" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_importing_formulas_is_light() -> None:
    code = "import sys, confrere.study.formulas, confrere.study.file, confrere.data.sources; "
    code += "sys.exit(any(m in sys.modules for m in ('pandas', 'formulaic', 'ibis', 'duckdb', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- columns that stand together -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "terms", [["a", "b", "c"], ["b", "c"], ["c"], ["a", "c"], ["c", "b", "a"], ["a", "log(b + 9)"]]
)
def test_terms_that_lie_side_by_side_are_not_copied(terms: list[str]) -> None:
    block = np.random.default_rng(3).normal(size=(3, 40))
    frame = pd.DataFrame(dict(zip("abc", block, strict=True)), copy=False)
    apart = pd.DataFrame({name: block[i].copy() for i, name in enumerate("abc")}, copy=False)
    m = model("~ " + " + ".join(terms), SCHEMA)
    x, twin = m.evaluate(frame).x, m.evaluate(apart).x
    assert np.array_equal(x, twin)
    assert x.flags.f_contiguous
    assert twin.flags.f_contiguous
    together = "".join(terms) in "abc"
    assert np.shares_memory(x, block) == together
    assert x.flags.writeable != together  # nobody may change the records


def test_columns_of_other_memory_are_not_taken_for_a_table() -> None:
    block = np.arange(40.0).reshape(4, 10)
    assert side_by_side([]) is None
    assert side_by_side([block[0], block[0]]) is None
    assert side_by_side([block[0], block[1].copy()]) is None
    assert side_by_side([block[0, ::2], block[1, ::2]]) is None
    assert side_by_side([block.T[:, 0], block.T[:, 1]]) is not None  # the same memory, seen the other way round
    assert side_by_side([block[:, 0], block[:, 1]]) is None  # people lie together, not columns
    assert side_by_side([block.astype(np.float32)[0].view(), block[1]]) is None
