"""The report of a study of an effect: figures, tables, protocol, checklist, in both languages."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from confrere.report import check, love_plot, propensity_plot, prose, protocol, render
from confrere.report import checklist as lists
from confrere.report.axes import Clock
from confrere.report.effect_forest import together
from confrere.report.figures import draw, figures, of_effects
from confrere.report.page import parts
from confrere.report.tables import tables
from confrere.report.words import Words, french
from report_sample import EN, FR, HOSTILE, LONG, analysis, point, sample, validator

ARMS = ("untreated", "treated")


def effect(measure: str, value: float, **more: Any) -> dict[str, Any]:
    limits = {"estimate": value, "std_error": 0.1, "statistic": -1.0, "p_value": 0.04}
    limits |= {"conf_low": value - 0.2, "conf_high": value + 0.2}
    if measure.endswith("ratio"):
        limits |= {"ratio": 0.8, "ratio_low": 0.6, "ratio_high": 0.97}
    return {"measure": measure, **more, **limits}


EFFECTS = [effect("hazard ratio", -0.2), effect("risk difference", -0.07, time=365.0),
           effect("risk ratio", -0.2, time=365.0), effect("RMST difference", 120.0, time=3650.0)]  # fmt: skip
MEANS = [f"{arm}_{when}" for when in ("before", "after") for arm in ("untreated", "treated")]
BALANCE = [
    {"term": "age", **dict(zip(MEANS, (61.25, 54.0, 58.0, 58.1), strict=True)),
     "smd_before": -0.7, "smd_after": 0.02, "variance_ratio": 1.1},
    {"term": "C(size)[T.>50]", **dict(zip(MEANS, (0.125, 0.5, 0.3, 0.25), strict=True)),
     "smd_before": 0.9, "smd_after": -0.12, "variance_ratio": None},
    {"term": f"{HOSTILE} {LONG}", **dict.fromkeys(MEANS, 0.5),
     "smd_before": 0.1, "smd_after": 0.0, "variance_ratio": 0.9},
]  # fmt: skip
OVERLAP = [
    {"arm": arm, "propensity_from": low, "propensity_to": high, "n": n}
    for arm, counts in zip(ARMS, ((80, 15, 5), (20, 20, 10)), strict=True)
    for (low, high), n in zip(((0.0, 0.05), (0.05, 0.4), (0.4, 1.0)), counts, strict=True)
]
SENSITIVITY = [{"measure": "risk difference", "time": 365.0, "risk_ratio": 0.8, "e_value": 1.8, "e_value_limit": 1.0,
                "by": "ratio of the means", "tipping": None, "tipping_missing": None}]  # fmt: skip
RISKS = [{"group": arm, "time": 365.0, "estimate": 0.3, "std_error": 0.1, "conf_low": 0.2, "conf_high": 0.4}
         for arm in ARMS]  # fmt: skip
TABLES: dict[str, list[dict[str, Any]]] = {
    "effects": EFFECTS,
    "arms": [{"arm": a, "n": 100, "effective_n": 61.5, "events": 30, "estimate": 0.3, "std_error": 0.1,
              "conf_low": 0.2, "conf_high": 0.4} for a in ARMS],
    "risks": RISKS, "balance": BALANCE, "overlap": OVERLAP, "sensitivity": SENSITIVITY,
    "curve": [point(arm, 90 * i, 1 - 0.02 * i) for arm in ARMS for i in range(1, 42)],
}  # fmt: skip
SETTINGS = {"treatment": "hormon", "outcome": "Surv(t, d)", "confounders": "age + C(size)", "estimand": "ATO"}
TRIAL = {
    "eligibility": f"women {HOSTILE}", "strategies": ["none", "hormones"], "time_zero": "surgery", "follow_up": 3652.0,
    "outcome": "recurrence", "estimand": "ATO", "contrast": "intention to treat", "assumptions": ["no other cause"],
    "assignment": "at random at time zero; people and physicians know the strategy",
}  # fmt: skip


def made(name: str = "one", **facts: Any) -> dict[str, Any]:
    facts = {"estimator": "iptw", "estimand": "ATO", "grid": "ladder of 9 cells up to 9 days, merged to 4"} | facts
    return analysis(name, "effect", **TABLES) | {"settings": SETTINGS, "facts": facts}


def result(*analyses: dict[str, Any], trial: dict[str, Any] | None = TRIAL) -> dict[str, Any]:
    found = sample() | {"analyses": list(analyses)}
    study = found["study"] | ({"target_trial": trial} if trial else {})
    return found | {"study": study}


@pytest.mark.parametrize("words", [EN, FR], ids=["en", "fr"])
def test_every_figure_is_valid_and_says_what_it_shows(words: Words) -> None:
    both = [made(), made("two", estimator="aipw")]
    shown = [*figures(both[0], {"time_unit": "days"}, words), *of_effects(both, {"time_unit": "days"}, words)]
    assert [f.name for f in shown[:3]] == ["survival", "overlap", "balance"]
    assert len(shown) == 7  # a forest for each of four measures
    for figure in shown:
        drawing = draw(figure, words)
        validator().validate(drawing.spec)
        assert '"url"' not in json.dumps(drawing.spec)
        assert "<script" not in drawing.svg
        assert figure.records


def test_curves_have_the_arms_in_the_language() -> None:
    (curve,) = (f for f in figures(made(), {"time_unit": "days"}, FR) if f.name == "survival")
    assert "pondérée" in curve.title
    assert ">non traités<" in draw(curve, FR).svg


def test_bars_cover_the_share_of_their_arm() -> None:
    panel = propensity_plot.mirror(OVERLAP)
    assert panel is not None
    assert panel.people == {"treated": 50, "untreated": 100}
    for arm in ARMS:
        area = sum(b.share * (b.high - b.low) / propensity_plot.PER for b in panel.bars if b.arm == arm)
        assert area == pytest.approx(1.0)
    assert panel.bars[0].share == pytest.approx(0.8)
    assert panel.bars[1].share == pytest.approx(0.15 / 7)
    assert propensity_plot.mirror([r | {"n": 0} for r in OVERLAP]) is None
    assert propensity_plot.mirror([{"cohorts": 1, "n": 3}]) is None


def test_a_love_plot_has_the_largest_difference_on_top_and_no_signs() -> None:
    panel = love_plot.love(BALANCE, EN)
    assert panel is not None
    assert [t[1:] for t in panel.terms] == [(0.9, 0.12), (0.7, 0.02), (0.1, 0.0)]
    assert panel.terms[0][0] == "size: >50"
    assert love_plot.love([], EN) is None
    assert love_plot.love(BALANCE * 30, EN) is None


def test_analyses_of_one_outcome_stand_together_and_others_apart() -> None:
    other = made("other") | {"settings": SETTINGS | {"outcome": "death"}}
    found = list(together([made(), made("two", estimator="gformula", estimand="ATE"), other], Clock("days"), 0.95, EN))
    assert [len(f.records) for f in found] == [2, 2, 2, 2]
    terms = [r["term"] for r in next(f for f in found if "risk difference" in f.title.lower()).records]
    assert terms == ["one (IPTW, ATO), 365 days", "two (g-formula, ATE), 365 days"]
    assert list(together([made(), other], Clock("days"), 0.95, EN)) == []


def test_figures_of_all_stand_with_the_first_effect() -> None:
    described = analysis("who", "describe") | {"settings": {}}
    shown = parts(result(described, made(), made("two")), EN)
    names = [[f.name.startswith("together") for f in part.figures] for part in shown]
    assert (sum(names[0]), sum(names[1]), sum(names[2])) == (0, 4, 0)
    stems = [f.stem for part in shown for f in part.figures]
    assert len(stems) == len(set(stems))


def cells(name: str, words: Words = EN) -> list[tuple[str, ...]]:
    (found,) = (t for t in tables(made(), {"time_unit": "days"}, words) if t.name == name)
    return [row.cells for row in found.rows]


def test_tables_are_set_for_reading() -> None:
    assert cells("effects")[0][-2:] == ("0.80 (0.60–0.97)", "0.040")
    assert cells("effects")[3] == ("Difference of restricted means, years", "10", "0.32854 (0.32799–0.32909)", "0.040")
    assert cells("balance")[:2] == [
        ("age", "61.2", "54.0", "−0.70", "58.0", "58.1", "0.02", "1.10"),
        ("size: >50", "12.5%", "50.0%", "0.90", "30.0%", "25.0%", "−0.12", "–"),
    ]
    assert cells("arms")[0] == ("Untreated", "100", "62", "30", "0.300 (0.200–0.400)")
    assert cells("risks")[1] == ("Treated", "1", "30.0% (20.0–40.0)")
    assert cells("sensitivity")[0] == ("Risk difference (1 year)", "0.800", "1.80", "1.00", "–")
    (shown,) = (t for t in tables(made(), {"time_unit": "days"}, EN) if t.name == "balance")
    assert "1 of 3" in shown.foot[1]


def test_table_one_has_the_reference_level_and_stars_for_what_is_withheld() -> None:
    """Who has none of the other levels, where the study declares one more; nothing of it, where a level is withheld."""
    study = {"time_unit": "days", "columns": {"size": {"levels": ["<=20", ">50"]}}}
    (shown,) = (t for t in tables(made(), study, EN) if t.name == "balance")
    assert shown.caption.startswith("Table 1")
    assert shown.rows[1].cells == ("size: <=20", "87.5%", "50.0%", "–", "70.0%", "75.0%", "–", "–")
    hidden = [r | dict.fromkeys([*MEANS, "smd_before"]) | {"suppressed": True} for r in BALANCE[1:2]]
    few = made() | {"tables": {**TABLES, "balance": hidden}}
    (shown,) = (t for t in tables(few, study, EN) if t.name == "balance")
    assert [row.cells[1:6] for row in shown.rows] == [("*", "*", "–", "*", "*")] * 2
    assert any(line.startswith("*") for line in shown.foot)


def test_a_propensity_of_trees_says_what_its_terms_are_to_it() -> None:
    gains = [{"term": "nodes", "total_gain": 164.2, "share": 0.75}, {"term": "age", "total_gain": 54.7, "share": 0.25}]
    trees = made() | {"tables": {**TABLES, "propensity": gains}}
    (shown,) = (t for t in tables(trees, {"time_unit": "days"}, FR) if t.name == "propensity")
    assert shown.caption == FR.title("propensity")
    assert [row.cells[0] for row in shown.rows] == ["nodes", "age"]
    assert shown.rows[0].cells[2] == FR.numbers.percent(0.75)


def test_other_methods_keep_their_tables() -> None:
    other = analysis("x", "agreement", effects=[{"measure": "kappa", "value": 1.0}])
    (shown,) = tables(other, {"time_unit": None}, EN)
    assert [c.head for c in shown.columns] == ["Measure", "Value"]


def test_the_checklist_has_the_items_of_the_statement() -> None:
    items = lists.checklist(result(made()), EN)
    letters = [f"{n}{c}" for c in "abcdefgh" for n in (6, 7)]
    assert [i.number for i in items] == ["1a", "1b", "1c", "2", "3", "4", "5", *letters, *map(str, range(8, 22))]
    assert len({re.sub(r"[a-h]", "", i.number) for i in items}) == 21
    assert len({i.section for i in items}) == 6
    open_ = {i.number for i in items if not i.texts and not i.place}
    assert open_ == {"1a", "1b", "1c", "2", "4", "6h", "10", "15", "17", "18", "20", "21"}
    assert {i.number: i for i in items}["6d"].texts == ["surgery", "3,652 days"]


def test_what_the_study_says_more_is_no_longer_open() -> None:
    more = TRIAL | {"rationale": "no trial", "analysis_plan": "weighting", "ends": "death"}
    items = {i.number: i for i in lists.checklist(result(made(), trial=more), EN)}
    assert items["4"].texts == ["no trial"]
    assert items["6h"].texts == ["weighting"]
    assert items["6d"].texts[-1] == "It ends with: death."
    other = {i.number: i for i in lists.checklist(result(made(), trial=TRIAL | {"contrast": "per protocol"}), EN)}
    assert not other["7f"].texts


def test_the_protocol_has_harpers_headings() -> None:
    numbers = [e.number for e in protocol.protocol(result(made()), EN)]
    wanted = "1 2 3 4 5 6 7.1 7.2 7.3.1 7.3.2 7.3.3 7.4.1 7.4.2 7.4.3 7.4.4 7.5 7.5.1 7.6 7.7 7.8 7.9 8 9 10 11 12"
    assert numbers == wanted.split()
    criteria = {
        "criteria": {"en": {"drug": "people who"}, "fr": {"drug": "qui"}},
        "definitions": {"age": {"is": "age"}},
    }
    entries = {e.number: e for e in protocol.protocol(result(made(), trial=TRIAL | criteria), FR)}
    assert entries["7.3.2"].texts[-1].endswith("qui")
    assert entries["7.4.4"].texts[-1].endswith("is = age")
    none = made("two") | {"settings": {k: v for k, v in SETTINGS.items() if k != "outcome"}}
    for both in (result(none, made()), result(made(), none)):
        (told,) = (e.texts[0] for e in protocol.protocol(both, EN) if e.number == "7.4.2")
        assert told == "recurrence: Surv(t, d)"


def pair() -> dict[str, Any]:
    """An analysis of two treatments."""
    names = ("neither", "h alone", "c alone", "both")
    effects = [{"contrast": name, **record} for name in names[1:] for record in EFFECTS]
    interaction = [{"scale": "additive", "measure": "difference of RMST differences", "time": 365.0, "estimate": 3.0,
                    "std_error": 1.0, "conf_low": 1.0, "conf_high": 5.0, "p_value": 0.003}]  # fmt: skip
    tables = TABLES | {
        "effects": effects, "interaction": interaction, "arms": [TABLES["arms"][0] | {"arm": name} for name in names],
    }  # fmt: skip
    made = analysis("pair", "interaction", **{k: v for k, v in tables.items() if k not in ("balance", "overlap")})
    settings = {"first": "h", "second": "c", "outcome": "Surv(t, d)", "confounders": "age", "times": [365]}
    return made | {"settings": settings, "facts": {"estimator": "iptw"}}


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_a_factorial_trial_has_four_arms_in_the_protocol(lang: Any) -> None:
    four = TRIAL | {"strategies": ["none", "hormones", "chemotherapy", "both drugs"], "estimand": "ATE"}
    whole, words = result(pair(), trial=four), Words(lang)
    check(whole)
    entries = {e.number: e for e in protocol.protocol(whole, words)}
    assert "hormones (h 1, c 0)" in entries["7.4.1"].texts[0]
    assert "both drugs (h 1, c 1)" in entries["7.4.1"].texts[0]
    assert entries["6"].texts[0].startswith("Both drugs")
    assert "factori" in entries["7.1"].texts[0]
    items = {item.number: item for item in lists.checklist(whole, words)}
    assert items["6b"].texts == ["none / hormones / chemotherapy / both drugs"]
    assert items["6f"].texts[-1] in entries["7.5"].texts
    text = render(whole, lang)
    assert "chemotherapy" in text
    assert words("Interaction of the treatments") in text
    assert words.label("h alone") == {"en": "h alone", "fr": "h seul"}[lang]
    assert not list(of_effects([pair(), made()], {"time_unit": "days"}, words))  # contrasts are no estimates of one


def test_whether_hospitals_differ_is_a_sentence_of_the_report() -> None:
    """Of the analysis that tested it, and of no other."""
    tested = made("two", heterogeneity=8.0, heterogeneity_p=0.0183, i2=0.75)
    for words, share in (
        (EN, "chance does not explain 75% (I2; P\xa0=\xa00.018 for"),
        (FR, "le hasard n’explique pas 75"),
    ):
        (said,) = (s for s in prose.how_sure(result(made(), tested), words) if s.head == words("Between hospitals"))
        assert said.text.startswith("two")
        assert share in said.text
    assert not [s for s in prose.how_sure(result(made()), EN) if s.head == "Between hospitals"]


@pytest.mark.parametrize("lang", ["en", "fr"])
def test_the_page_has_both_and_every_link_leads_somewhere(lang: Any) -> None:
    whole = result(analysis("who", "describe"), made(), made("two"))
    check(whole)
    text = render(whole, lang)
    places = set(re.findall(r'id="([^"]+)"', text))
    assert {"protocol", "checklist"} <= places
    assert not [a for a in re.findall(r'href="#([^"]+)"', text) if a not in places]
    assert HOSTILE not in text
    assert all(words_ in text for words_ in (Words(lang)("to be written by the researcher"), "10.1001/jama.2025.13350"))


def test_without_a_target_trial_there_is_neither() -> None:
    text = render(result(made(), trial=None))
    assert 'id="protocol"' not in text
    assert 'id="checklist"' not in text
    assert "Table 1: the arms" in text


def test_every_name_of_an_item_has_its_french() -> None:
    assert {*lists.NAMES.values(), *lists.PARTS, *lists.SECTIONS} <= french().keys()


def test_what_effects_are_adjusted_for_is_told_of_each() -> None:
    """Several estimates of one measure are told apart, in the table, in the plan and in a forest of all analyses."""
    kinds = ("none", "score", "score, of everybody")
    rows = [effect("hazard ratio", -0.2 + i / 50, adjustment=kind) for i, kind in enumerate(kinds)]
    plan = [{"adjustment": kind, "multiplier": 0.5} for kind in kinds[:2]]
    one = analysis("a", "prognostic", effects=rows, sample_size=plan) | {"settings": SETTINGS}
    shown = {t.name: t for t in tables(one, sample()["study"], FR)}
    assert [c.head for c in shown["effects"].columns][:2] == ["Mesure", "Ajusté sur"]
    assert [r.cells[1] for r in shown["effects"].rows] == ["Rien", "Score", "Score, rapport de tous"]
    assert [r.cells[0] for r in shown["sample_size"].rows] == ["Rien", "Score"]
    said = next(together([one, one | {"name": "b"}], Clock("days"), 0.95, EN)).description
    assert "nothing" in said
    assert "score, ratio of everybody" in said
