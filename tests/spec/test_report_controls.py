"""The report of controls, responders, strategies and the event study: what is said first, tables and figures."""

from __future__ import annotations

from typing import Any

import pytest

from confrere.report.figures import draw, figures
from confrere.report.prose import asked, headline
from confrere.report.ranking_plot import toc
from confrere.report.tables import tables
from confrere.report.words import Words
from report_sample import EN, FR, analysis, validator

STUDY: dict[str, Any] = {"time_unit": "days", "k": 11}
LIMITS = {"std_error": 0.1, "statistic": 2.0, "p_value": 0.04, "conf_low": 0.1, "conf_high": 0.5}
RATIO = {"estimate": 0.3, "ratio": 1.35, "ratio_low": 1.1, "ratio_high": 1.65, **LIMITS}
ERRORS = {"ease": 0.4, "error_mean": 0.2, "error_slope": 1.0, "error_sd": 0.1, "error_sd_slope": 0.0}
COUNTS = {"negative_controls": 5, "positive_controls": 0}
TIMES = (365.0, 730.0)
CONTROLS = {
    "effects": [{"measure": "risk ratio", "time": t, **RATIO} for t in TIMES],
    "calibrated": [{"measure": "risk ratio", "time": t, **RATIO, "ratio": 0.91, **ERRORS, **COUNTS} for t in TIMES],
    "controls": [
        {"outcome": f"n{j}", "treatment": "a", "truth": 1.0, "measure": "risk ratio", "time": t, **RATIO, "reason": ""}
        for j in range(5) for t in TIMES
    ],
    "diagnostics": [{"diagnostic": "ease", "value": 0.4, "threshold": 0.25, "passed": False}],
}  # fmt: skip
MEAN = {"measure": "mean difference", "estimate": 1.0, **LIMITS}
RESPONDERS = {
    "effects": [{"people": "learning", "n": 90, **MEAN, "estimate": 9.0}, {"people": "testing", "n": 100, **MEAN}],
    "tests": [{"test": "the effect is the same for all", "statistic": 9.0, "df": 2, "p_value": 0.0001}],
    "calibration": [{"term": t, "estimate": 0.8, **LIMITS} for t in ("average effect", "slope")],
    "groups": [
        {"group": 1, "predicted_from": None, "predicted_to": 1.0, "n": 60, "treated": 30, "estimate": 0.0, **LIMITS},
        {"group": 2, "predicted_from": 1.0, "predicted_to": None, "n": 40, "treated": 20, "estimate": 2.5, **LIMITS},
    ],
    "ranking": [{"measure": "AUTOC", "estimate": 0.5, **LIMITS}],
    "subgroups": [{"rule": "age >= 70", "n": 40, "treated": 20, "estimate": 2.0, **LIMITS, "difference": 1.0,
                   "difference_se": 0.2, "p_holm": 0.02, "benefits": True}],
    "value": [{"policy": p, "share_treated": None, "estimate": 0.4, **LIMITS}
              for p in ("rule less everybody", "rule less nobody")],
}  # fmt: skip
EVENTS = [{"event_time": float(t), "estimate": 0.1, **LIMITS} for t in (-1, 0, 1)]
CURVE = [{"group": g, "time": t, "estimate": 1 - t / 900} for g in ("treated", "untreated") for t in (90.0, 180.0)]


def controlled() -> dict[str, Any]:
    return analysis("drug", "effect", **CONTROLS) | {"settings": {"treatment": "drug", "outcome": "Surv(t, d)"}}


@pytest.mark.parametrize(
    ("words", "calibrated", "forbidden"),
    [
        (EN, "calibrated by controls (95% CI) 0.91", "Not to be used as it stands"),
        (FR, "calibré par les témoins", "À ne pas utiliser"),
    ],
)
def test_what_diagnostics_forbid_is_said_first(words: Words, calibrated: str, forbidden: str) -> None:
    said = headline(controlled(), STUDY, words)
    assert calibrated in said
    assert forbidden in said


def test_controls_are_told_as_ratios_by_time() -> None:
    shown = {t.name: t for t in tables(controlled(), STUDY, EN)}
    assert shown["controls"].rows[1].cells == ("n0", "Risk ratio", "730", "1.35 (1.10–1.65)", "0.040")
    assert [r.cells[:2] for r in shown["calibrated"].rows] == [("Risk ratio", "365"), ("Risk ratio", "730")]


@pytest.mark.parametrize("words", [EN, FR])
def test_names_of_gains_and_rules_are_drawn_whole(words: Words) -> None:
    """None is cut off by an ellipsis: neither a gain of the tree, nor a rule of two conditions."""
    gains = [RESPONDERS["value"][0] | {"policy": f"{by} less {whom}"}
             for by in ("rule", "tree") for whom in ("everybody", "nobody")]  # fmt: skip
    rules = [RESPONDERS["subgroups"][0] | {"rule": "age >= 70 and nodes > 3 and size[T.>50] < 1"}]
    who = analysis("who", "responders", **RESPONDERS | {"value": gains, "subgroups": rules})
    drawn = {f.name: draw(f, words).svg for f in figures(who, STUDY, words)}
    assert {"subgroups", "value"} <= drawn.keys()
    assert "size[T.&gt;50] &lt; 1<" in drawn["subgroups"]
    assert words.title("rule less everybody") + "<" in drawn["value"]
    assert not any("…" in svg for svg in drawn.values())


def test_what_was_tested_is_the_main_result_of_responders() -> None:
    who = analysis("who", "responders", **RESPONDERS)
    said = headline(who, STUDY, EN)
    assert said.startswith("Mean difference, people tested on (95% CI) 1.0")
    assert "Heterogeneity of the effect: P" in said
    shown = {t.name: t for t in tables(who, STUDY, EN)}
    assert [r.cells[1:3] for r in shown["effects"].rows] == [("Learned from", "90"), ("Tested on", "100")]
    assert shown["subgroups"].rows[0].cells[3:] == ("1.00 (0.20)", "0.040", "0.020", "yes")


def test_the_ranking_curve_by_hand() -> None:
    """The two fifths ranked first have 2.5, all have 1: 1.5 more; of harms the other way round."""
    panel = toc(analysis("who", "responders", **RESPONDERS))
    assert panel is not None
    assert [v for end in panel.ends for v in end] == pytest.approx([0.4, 1.5, 1.0, 0.0])
    harm = toc(analysis("who", "responders", **RESPONDERS) | {"settings": {"benefit": "lower"}})
    assert harm is not None
    assert [v for end in harm.ends for v in end] == pytest.approx([0.6, 1.0, 1.0, 0.0])


@pytest.mark.parametrize("words", [EN, FR], ids=["en", "fr"])
@pytest.mark.parametrize(
    ("one", "names"),
    [
        (controlled(), ["controls", "controls_2"]),
        (analysis("who", "responders", **RESPONDERS), ["subgroups", "value", "ranking"]),
        (analysis("did", "difference_in_differences", event_study=EVENTS), ["event_study"]),
        (analysis("ccw", "clone_censor_weight", effects=[MEAN], strategy_curve=CURVE), ["survival"]),
        (analysis("trials", "sequential_trials", effects=[MEAN], trial_curve=CURVE), ["survival"]),
    ],
)
def test_figures_are_valid(one: dict[str, Any], names: list[str], words: Words) -> None:
    shown = figures(one, STUDY, words)
    assert [f.name for f in shown] == names
    for figure in shown:
        validator().validate(draw(figure, words).spec)
        assert figure.description


def test_the_terms_kept_are_the_main_result_of_a_penalised_regression() -> None:
    rows = [{"term": t, "estimate": e} for t, e in (("Intercept", 1.0), ("age", 0.2), ("sex", 0.0))]
    crossed = [{"lambda": 1.0, "mean": 2.0}, {"lambda": 0.1, "mean": 1.5}]
    one = analysis("lasso", "penalised", coefficients=rows, cv=crossed) | {"facts": {"lambda": 0.1}}
    assert headline(one, STUDY, EN) == "1 of 2 terms kept. Cross-validated deviance 1.50, 25.0% less than without terms"


def test_the_question_names_outcome_and_treatment() -> None:
    assert asked(controlled(), EN) == [("treatment", "drug"), ("outcome", "Surv(t, d)")]
    assert asked(analysis("cox", "cox"), EN) == [("", "Surv(t, d) ~ arm")]


def test_one_unit_of_time_is_singular() -> None:
    assert [EN.length(n, "years") for n in ("1", "3", "0.5")] == ["1 year", "3 years", "0.5 years"]
    assert [FR.length(n, "years") for n in ("1,5", "2")] == ["1,5 an", "2 ans"]
