"""The words and numbers of the report: as a journal prints them, in English and in French; its tables."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from confrere.report import render
from confrere.report.axes import Clock, clock, ratio_ticks, ticks, time_ticks
from confrere.report.cautions import CAUTIONS, PHRASES, said
from confrere.report.figures import ESTIMATED
from confrere.report.forest import lines
from confrere.report.labels import LABELS
from confrere.report.labels_methods import METHODS
from confrere.report.notes import SENTENCES, told
from confrere.report.numerals import FIRM, MINUS, NONE, Numerals
from confrere.report.page import parts
from confrere.report.prose import CLASSES, headline
from confrere.report.raw import raw
from confrere.report.tables import tables
from confrere.report.terms import is_intercept, read, references, single_factor
from confrere.report.words import Words, french
from confrere.rounds import find, installed
from report_sample import coefficient, point, sample, words_of

EN, FR = Words("en"), Words("fr")
SOURCE = Path(__file__).parents[2] / "src" / "confrere"


@pytest.fixture
def result() -> dict[str, Any]:
    return sample()


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("p_value", "english", "french_"),
    [
        (0.52, "0.52", "0,52"),
        (0.0237, "0.024", "0,024"),
        (0.0496, "0.0496", "0,0496"),
        (0.05, "0.050", "0,050"),
        (0.00432, "0.004", "0,004"),
        (0.00099, "<0.001", "<0,001"),
        (0.998, ">0.99", ">0,99"),
        (None, NONE, NONE),
    ],
)
def test_p_values(p_value: float | None, english: str, french_: str) -> None:
    assert Numerals("en").p_value(p_value) == english
    assert Numerals("fr").p_value(p_value) == french_


def test_p_in_a_sentence() -> None:
    """On one line: its blanks do not break."""
    assert Numerals().p_equals(0.3) == f"P{FIRM}={FIRM}0.30"
    assert Numerals().p_equals(1e-9) == f"P{FIRM}<{FIRM}0.001"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (Numerals().fixed(-0.004), "0.00"),  # no minus before nothing
        (Numerals().fixed(-1.25), f"{MINUS}1.25"),
        (Numerals().count(2982), "2,982"),
        (Numerals().count(12982), "12,982"),
        (Numerals("fr").count(12982), "12\u202f982"),
        (Numerals().count(10.5), "10.5"),
        (Numerals().significant(0.0152345), "0.0152"),
        (Numerals().significant(9.996), "10.0"),
        (Numerals().significant(0), "0"),
        (Numerals().significant(2.9e-9), "2.90 × 10⁻⁹"),
        (Numerals().short(0.8), "0.8"),
        (Numerals().short(100.0), "100"),
        (Numerals("fr").short(1.25), "1,25"),
        (Numerals().percent(0.451), "45.1%"),
        (Numerals("fr").percent(0.451), "45,1\u202f%"),
        (Numerals().size(16), f"16{FIRM}bytes"),
        (Numerals().size(20240), f"20.2{FIRM}kB"),
        (Numerals().size(1_500_000), f"1.50{FIRM}MB"),
        (Numerals("fr").size(20240), f"20,2{FIRM}ko"),
        (Numerals().any(True), "yes"),
        (Numerals().any(-11189.6612), f"{MINUS}11,189.66"),
        (Numerals().any(["a", 1]), "a, 1"),
        (Numerals().any({"a": 1}), "a = 1"),
        (Numerals().any(None), NONE),
    ],
)
def test_numbers_as_printed(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    ("values", "ratio", "expected"),
    [
        ((0.918, 0.781, 1.0797), True, "0.92 (0.78–1.08)"),
        ((0.98756, 0.98089, 0.99428), True, "0.988 (0.981–0.994)"),  # a narrow interval earns a decimal
        ((12.3456, 8.1, 20.7), True, "12.35 (8.10–20.70)"),
        ((-0.0853, -0.2472, 0.0767), False, f"{MINUS}0.085 ({MINUS}0.247 to 0.077)"),
        ((8.0, 0.0539, 1187.3), True, "8.00 (0.0539–1,187)"),
        ((1.5, None, None), True, "1.50"),
        ((1.5, 0.9, None), True, "1.50 (0.90 to –)"),
        ((None, None, None), True, NONE),
    ],
)
def test_an_estimate_with_its_interval(values: tuple[Any, Any, Any], ratio: bool, expected: str) -> None:
    assert Numerals().estimate(*values, ratio=ratio) == expected


def test_every_setting_of_a_method_has_a_name_in_both_languages() -> None:
    methods = [m for m in installed() if find(m).__module__.startswith("confrere.")]
    settings = {f.name for m in methods for f in dataclasses.fields(find(m))} - {"ground"}
    assert settings - LABELS.keys() == set()


def test_facts_are_said_in_the_language_and_settings_as_they_were_written(result: dict[str, Any]) -> None:
    result["analyses"][1]["facts"] = {"effect": "years of life", "bins_of_risk": 4}
    result["analyses"][1]["settings"] = {"outcome": "age"}
    (part,) = [p for p in parts(result, FR) if p.analysis is result["analyses"][1]]
    assert part.facts == [("Effet", "années de vie"), ("Classes de risque", "4")]
    assert part.settings == [("critère de jugement", "age")]


def test_arms_of_two_treatments_are_said_in_french(result: dict[str, Any]) -> None:
    analysis = result["analyses"][1]
    row = {"n": 20, "effective_n": 20.0, "estimate": 0.5, "std_error": 0.1, "conf_low": 0.3, "conf_high": 0.7}
    effect = {"contrast": "chemo given hormon", "measure": "risk difference", "estimate": 0.1, "p_value": 0.2}
    analysis["tables"] = {
        "effects": [effect],
        "arms": [{"arm": arm, **row} for arm in ("neither", "chemo alone", "both")],
    }
    shown = {t.name: t for t in tables(analysis, result["study"], FR)}
    assert [r.cells[0] for r in shown["arms"].rows] == ["Aucun des deux", "chemo seul", "Les deux"]
    assert shown["effects"].rows[0].cells[1] == "chemo sachant hormon"


def test_events_of_clones_are_told_apart_from_those_of_people(result: dict[str, Any]) -> None:
    analysis = result["analyses"][1]
    row = {"arm": "within the grace period", "n": 20, "effective_n": 18.0, "events": 15, "clone_events": 32}
    analysis["tables"] = {"effects": [{"measure": "risk difference", "estimate": 0.1, "p_value": 0.2}], "arms": [row]}
    shown = {t.name: t for t in tables(analysis, result["study"], FR)}["arms"]
    assert [c.head for c in shown.columns][-2:] == ["Événements", "Événements qui comptent"]
    assert shown.rows[0].cells[1:] == ("20", "18", "15", "32")
    assert "compte dans les deux stratégies" in shown.foot[-1]


# ---------------------------------------------------------------- axes and terms


def test_days_of_a_long_study_are_years_and_months_stay_months() -> None:
    assert clock("days", 3650) == Clock("years", 365.25)
    assert clock("days", 600) == Clock("days")
    assert clock("months", 360) == Clock("months")
    assert clock(None, 9) == Clock(None)
    assert Clock("years", 365.25).shown(3650, Numerals()) == "10"
    assert Clock("years", 365.25).shown(550, Numerals()) == "1.5"


@pytest.mark.parametrize(
    ("time", "longest", "expected"),
    [
        (Clock("years", 365.25), 3653.0, [0, 2, 4, 6, 8, 10]),
        (Clock("months"), 60, [0, 12, 24, 36, 48, 60]),
        (Clock("days"), 600, [0, 90, 180, 270, 360, 450, 540]),
        (Clock(None), 0.0, [0]),
    ],
)
def test_ticks_of_time_are_those_people_count_in(time: Clock, longest: float, expected: list[float]) -> None:
    assert [tick / time.per for tick in time_ticks(time, longest)] == pytest.approx(expected)


@pytest.mark.parametrize("ends", [(0.7, 2.2), (0.02, 40), (0.9, 1.1), (0.97, 1.002), (1e-3, 1e3), (1.2, 3.0)])
def test_ticks_of_ratios_hold_one_and_are_few(ends: tuple[float, float]) -> None:
    found = ratio_ticks(*ends)
    assert 1.0 in found
    assert len(found) <= 8
    assert found == sorted(set(found))


def test_plain_ticks() -> None:
    assert ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-0.3, 0.21, 5) == [-0.2, 0, 0.2] or ticks(-0.3, 0.21, 5) == [-0.3, -0.2, -0.1, 0, 0.1, 0.2]


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("age", "age"),
        ("C(size)[T.20-50]", "size: 20-50"),
        ("size[>50]", "size: >50"),
        ("hormon[T.yes]:age", "hormon yes × age"),
        ("C(hour)[T.10:30]", "hour: 10:30"),
        ("I(pgr / 100)", "pgr / 100"),
        ("log(nodes)", "log(nodes)"),
        ("bs(age, knots=[40, 60])[2]", "bs(age, knots=[40, 60]): 2"),
        ("site[T.a[b]]", "site: a[b]"),
        ("", ""),
    ],
)
def test_terms_as_people_say_them(term: str, expected: str) -> None:
    assert str(read(term)) == expected


def test_the_intercept_is_known_by_its_names() -> None:
    assert is_intercept("Intercept")
    assert is_intercept("(Intercept)")
    assert not is_intercept("intercepted")


def test_levels_of_one_variable_stand_under_its_name() -> None:
    terms = ["age", "C(size)[T.20-50]", "C(size)[T.>50]", "C(grade)[T.3]"]
    rows = lines([coefficient(term, 1.0) for term in terms], {}, EN)
    assert [(row.label, row.indent) for row in rows] == [
        ("age", False),
        ("size", False),
        ("20-50", True),
        (">50", True),
        ("grade: 3", False),
    ]


def test_reference_levels_are_named_where_the_study_declares_them() -> None:
    terms = ["C(size)[T.20-50]", "C(size)[T.>50]", "C(grade)[T.3]", "hormon[T.1]", "hormon[T.1]:age"]
    declared = {"size": ["<=20", "20-50", ">50"], "grade": ["2", "3"], "hormon": ["0", "1", "2"], "idle": ["a", "b"]}
    against = references(terms, declared)
    assert against == {"size": "<=20", "grade": "2"}  # of hormon two levels have no term: neither is sure
    rows = lines([coefficient(term, 1.0) for term in terms[:3]], against, EN)
    assert [(row.label, row.indent, row.reference) for row in rows] == [
        ("size", False, False),
        ("<=20", True, True),
        ("20-50", True, False),
        (">50", True, False),
        ("grade: 3 vs 2", False, False),
    ]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("Surv(t, d) ~ hormon", "hormon"),
        ("Surv(t, d) ~ C(size)", "size"),
        ("Surv(t, d) ~ sex + age", ""),
        ("Surv(t, d) ~ 1", ""),
        ("Surv(t, d) ~ sex * age", ""),
        ("", ""),
    ],
)
def test_the_factor_of_a_formula_is_its_only_variable(formula: str, expected: str) -> None:
    assert single_factor(formula) == expected


# ---------------------------------------------------------------- tables


def printed(result: dict[str, Any], place: int, name: str, words: Words = EN) -> list[list[str]]:
    found = {t.name: t for t in tables(result["analyses"][place], result["study"], words)}
    table = found[name]
    return [[column.head for column in table.columns], *(list(row.cells) for row in table.rows)]


def test_the_table_of_coefficients(result: dict[str, Any]) -> None:
    assert printed(result, 1, "coefficients")[:2] == [
        ["Term", "HR (95% CI)", "β", "SE", "Statistic", "P"],
        ["size: 20-50", "1.40 (1.12–1.68)", f"{MINUS}0.300", "0.100", f"{MINUS}3.00", "0.020"],
    ]


def test_ratios_of_fine_and_gray_are_of_the_subdistribution(result: dict[str, Any]) -> None:
    result["analyses"][1]["facts"]["model"] = "fine-gray"
    assert printed(result, 1, "coefficients")[0][1] == "SHR (95% CI)"


def test_robust_errors_have_a_column_where_there_are_any(result: dict[str, Any]) -> None:
    result["analyses"][1]["tables"]["coefficients"][0]["robust_se"] = 0.12
    assert "Robust SE" in printed(result, 1, "coefficients")[0]


def test_another_level_of_confidence_is_named(result: dict[str, Any]) -> None:
    result["analyses"][1]["settings"]["conf_level"] = 0.9
    assert printed(result, 1, "coefficients")[0][1] == "HR (90% CI)"
    assert printed(result, 1, "coefficients", FR)[0][1] == "HR (IC à 90\u202f%)"


def test_survival_has_a_row_per_time_and_a_column_per_group(result: dict[str, Any]) -> None:
    assert printed(result, 0, "survival") == [
        ["Time, years", "no (95% CI)", "yes (95% CI)"],
        ["1", "76.0% (66.0–86.0)", NONE],
    ]


def test_medians_are_in_the_unit_of_the_axis_or_not_reached(result: dict[str, Any]) -> None:
    head, no, yes = printed(result, 0, "median")
    assert head == ["Group", "Median, years (95% CI)"]
    assert no == ["no", "1.92 (1.64 to not reached)"]
    assert yes == ["yes", "not reached"]


def test_table_one_as_a_journal_sets_it(result: dict[str, Any]) -> None:
    assert printed(result, 2, "table1") == [
        ["Characteristic", "no (n = 100)", "SMD"],
        ["age", "", ""],
        ["Mean (SD)", "54.1 (9.80)", ""],
        ["Median [IQR]", "53 [44–64]", ""],
        ["Missing", "1", ""],
        ["size", "", "0.20"],
        ["<=20", "66 (66.7%)", ""],
        [">20", "33 (33.3%)", ""],
        ["Missing", "1", ""],
    ]


def test_a_mark_of_0_or_1_is_shown_as_people(result: dict[str, Any]) -> None:
    records = result["analyses"][2]["tables"]["table1"]
    records[0] |= {"percent": 25.0, "n": 80, "mean": 0.25, "missing": 0}
    assert printed(result, 2, "table1")[1:4] == [["age", "", ""], ["0", "60 (75.0%)", ""], ["1", "20 (25.0%)", ""]]


def test_a_bare_number_of_a_group_bears_the_name_of_its_variable(result: dict[str, Any]) -> None:
    for record in result["analyses"][2]["tables"]["table1"]:
        record["group"] = 1
    result["analyses"][2]["settings"] = {"by": "hormon"}
    assert printed(result, 2, "table1")[0][1] == "hormon: 1 (n = 100)"
    for name in ("survival", "median", "rmst"):
        for record in result["analyses"][0]["tables"][name]:
            record["group"] = "1"
    assert printed(result, 0, "survival")[0][1] == "arm: 1 (95% CI)"
    assert printed(result, 0, "rmst")[1][0] == "arm: 1"


def test_incidence_at_given_times_has_a_column_per_cause_and_group(result: dict[str, Any]) -> None:
    share = {"time": 365, "estimate": 0.2, "std_error": 0.02, "conf_low": 0.16, "conf_high": 0.24, "at_risk": 40}
    rows = [{"group": group, "cause": cause} | share for group in ("F", "M") for cause in ("death", "relapse")]
    result["analyses"][3]["tables"]["at_times"] = rows
    head, first = printed(result, 3, "at_times")
    assert head[1:] == [f"{cause}, {group} (95% CI)" for group in ("F", "M") for cause in ("death", "relapse")]
    assert first[1:] == ["20.0% (16.0–24.0)"] * 4


def test_the_table_of_coefficients_names_reference_levels(result: dict[str, Any]) -> None:
    result["study"]["columns"] = {"size": {"levels": ["<=20", "20-50", ">50"]}}
    (table,) = (t for t in tables(result["analyses"][1], result["study"], EN) if t.name == "coefficients")
    assert table.foot == ("Reference levels: size <=20.",)


def test_checks_of_proportional_hazards_have_a_row_per_term(result: dict[str, Any]) -> None:
    checks = result["analyses"][1]["tables"]["proportional_hazards"]
    checks.append(checks[0] | {"transform": "log", "statistic": 1.5, "p_value": 0.22})
    checks.append(checks[0] | {"term": "GLOBAL", "df": 3})
    assert printed(result, 1, "proportional_hazards") == [
        ["Term", "df", "χ², time", "P, time", "χ², log time", "P, log time"],
        ["age", "1", "9.00", "0.003", "1.50", "0.22"],
        ["All terms together", "3", "9.00", "0.003", NONE, NONE],
    ]


def test_no_percentage_gives_a_withheld_level_away(result: dict[str, Any]) -> None:
    result["analyses"][2]["tables"]["table1"][2] |= {"n": None, "suppressed": True}
    rows = printed(result, 2, "table1")
    assert ["<=20", "66", ""] in rows
    assert [">20", "*", ""] in rows
    assert rows[0][1] == "no (n = 100)"  # from age, which withholds nothing


def test_counts_between_edges_of_cells_are_marked_as_estimates(result: dict[str, Any]) -> None:
    """`≈` and a footnote; not at time 0, and the file keeps the number."""
    rows = [{"group": "a", "time": time, "at_risk": 40, "events": 12} for time in (0, 90)]
    result["analyses"][4]["tables"] = {"anything": rows}
    assert [row[2] for row in printed(result, 4, "anything")[1:]] == ["40", "40"]
    result["analyses"][4]["facts"]["grid"] = "ladder of 10 cells up to 960 days, merged to 6"
    assert [row[2:] for row in printed(result, 4, "anything")[1:]] == [["40", "12"], [f"≈{FIRM}40", "12"]]
    (table,) = tables(result["analyses"][4], result["study"], EN)
    assert table.foot == ("Numbers at risk between the edges of cells are estimated.",)
    assert table.records == [rows[0], rows[1] | {"note": ESTIMATED}]


def test_where_censorings_are_withheld_their_residue_is_not_shown() -> None:
    """People at risk less events less those of the next cell are the censored."""
    curve = [point("a", 30.0 * i, 0.9) | {"note": ESTIMATED} for i in range(1, 5)]
    curve[1] |= {"censored": None, "suppressed": True}
    shown = raw(curve, EN)
    at = [column.head for column in shown.columns].index("at_risk")
    assert [row.cells[at] for row in shown.rows] == [f"≈{FIRM}50", f"≈{FIRM}50", "*", f"≈{FIRM}50"]
    assert "note" not in [column.head for column in shown.columns]
    assert shown.records[2]["at_risk"] == 50


def test_an_unknown_table_is_printed_field_by_field(result: dict[str, Any]) -> None:
    assert printed(result, 4, "anything") == [["name", "worth"], ["a", "1.25"]]


def test_what_models_and_clusters_found_is_said_in_words(result: dict[str, Any]) -> None:
    """Metrics and samples by their names, shares as percentages, heads in capitals; and the first line of each."""
    one, other = result["analyses"][4], result["analyses"][3]
    metric = {"metric": "log loss", "estimate": 0.6, "conf_low": 0.5, "conf_high": 0.7, "sample": "held out"}
    one["tables"] = {"metrics": [metric]}
    assert printed(result, 4, "metrics", FR)[1] == ["Perte logarithmique", "0,6", "0,5", "0,7", "Mis de côté"]
    assert headline(one, result["study"], EN) == "log loss (held out; 95% CI) 0.600 (0.500–0.700)"
    one["tables"]["metrics"] = [r | {"conf_low": None, "conf_high": None} for r in one["tables"]["metrics"]]
    assert headline(one, result["study"], EN) == "log loss (held out) 0.600"  # cells were too coarse for limits
    other["tables"] = {"clusters": [{"cluster": c, "n": n, "share": n / 100} for c, n in ((1, 60), (2, 40))]}
    assert printed(result, 3, "clusters")[:2] == [["Cluster", "People", "Share"], ["1", "60", "60.0%"]]
    assert headline(other, result["study"], FR) == "2 groupes de 60, 40 personnes"


def test_who_benefits_is_led_by_the_effect_and_whether_it_is_the_same_for_all(result: dict[str, Any]) -> None:
    effect = {"measure": "risk difference", "estimate": -0.07, "conf_low": -0.13, "conf_high": -0.02, "p_value": 0.01}
    test = {"test": "the effect is the same for all", "statistic": 1.25, "df": 2, "p_value": 0.54}
    found = result["analyses"][1]
    found["tables"] |= {"effects": [effect], "tests": [test]}
    first, second = headline(found, result["study"], FR).replace(FIRM, " ").split(". ")
    assert (first[:21], second) == ("Différence de risques", "Hétérogénéité de l’effet : p = 0,54")


def test_short_names_of_columns_are_said_in_full_at_the_foot(result: dict[str, Any]) -> None:
    """Of clusters, whose profiles have many columns, and of a study's own diagnostics."""
    profile = {"cluster": "1", "term": "age", "mean": 54.0, "smd": 0.3}
    result["analyses"][4]["tables"] = {"profiles": [profile]}
    assert printed(result, 4, "profiles", FR)[0][-1] == "DMS"
    (table,) = tables(result["analyses"][4], result["study"], FR)
    assert table.foot == ("DMS, différence moyenne standardisée.",)
    result["analyses"][4]["tables"] = {"diagnostics": [{"diagnostic": "smd", "value": 0.3, "threshold": 0.1}]}
    (table,) = tables(result["analyses"][4], result["study"], EN)
    assert (table.rows[0].cells[0], table.foot) == ("SMD", ("SMD, standardised mean difference.",))


# ---------------------------------------------------------------- two languages


def test_french_says_everything_and_nothing_in_english(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"]["risk"][2] |= {"at_risk": None, "suppressed": True}
    result["study"]["disclosure"] = [*CLASSES, "other"]
    result["analyses"][1]["events"] = 9
    text = words_of(render(result, "fr"))
    for french_ in ("Aucun dossier de patient", "Sujets à risque", "Rapport de risques", "1,40 (1,12–1,68)", "20,2 ko"):
        assert french_ in text
    for english in ("What left", "Number at risk", "Settings", "withheld", "95% CI"):
        assert english not in text


def test_every_fixed_sentence_is_one_that_an_analysis_says() -> None:
    """Else it would be shown in English on a French page."""
    files = [*(SOURCE / "analyses").rglob("*.py"), SOURCE / "console/local.py"]
    files += [SOURCE / "study" / f"{m}.py" for m in ("build", "features", "learnt", "omop", "target_trial")]
    joined = re.sub(r'["\']\s*\n\s*f?["\']', "", "".join(p.read_text(encoding="utf-8") for p in files))
    for sentence in (*SENTENCES, *PHRASES, *(sentence for known in CAUTIONS.values() for sentence in known)):
        for part in re.split(r"{\w+}", sentence):
            assert part.strip(" .") in joined, sentence


def test_notes_and_facts_are_said_in_the_language_of_the_page() -> None:
    grid = "ladder of 87 cells up to 7680 days, merged to 60"
    assert told(grid, EN).text == "ladder of 87 cells up to 7,680 days, merged to 60"
    assert told(grid, FR) == ("échelle de 87 cases jusqu’à 7\u202f680 jours, réunies en 60", False)
    assert told("Groups with fewer than 11 people are not shown: a, b.", FR).text.endswith(f"montrés{FIRM}: a, b.")
    assert told("at least k people", EN, 15) == ("at least 15 people", False)
    assert told("a note of a plugin", FR, 11) == ("a note of a plugin", True)


@pytest.mark.parametrize(
    ("code", "text", "french_"),
    [
        (
            "coarse-curve",
            "Curves of few cells with events: St. a (3); b (2). The median of St. a lies in a cell from 1.5 to 2 days; "
            "around the median and time 365, censorings of b lie in a cell from 3 to 9 months; and 2 more. Within a "
            "cell times are not known.",
            "Courbes à peu de cellules avec des événements : St. a (3); b (2). Pour St. a : médiane dans une cellule "
            "de 1,5 à 2 jours; pour b : des censures dans une cellule de 3 à 9 mois, autour de médiane et temps 365; "
            "et 2 de plus. Dans une cellule, les temps ne sont pas connus.",
        ),
        (
            "few-events",
            "In an arm fewer than 10 people have the event: estimates may be unstable, limits too narrow.",
            "Dans un bras, moins de 10 personnes ont l’événement : les estimations peuvent être instables, et les "
            "intervalles trop étroits.",
        ),
        (
            "hospitals-left-out",
            "2 of 4 hospitals have fewer than 11 people for this and take part with nothing.",
            "Sur 4 hôpitaux, 2 ont moins de 11 personnes pour cela et prennent part sans rien donner.",
        ),
        (
            "diagnostics-failed",
            "The study's diagnostics do not pass: smd is 0.3 (threshold 0.1), equipoise is not told (threshold 0.25). "
            "The estimate is not to be used as it stands.",
            "Les diagnostics de l’étude ne sont pas respectés : DMS : 0,3 (seuil 0,1), part en équipoise : non dit "
            "(seuil 0,25). L’estimation ne doit pas être utilisée telle quelle.",
        ),
        (
            "positivity",
            "12% of the people have a propensity under 0.05 or over 0.95: hardly anybody like them had the other "
            "treatment. Set trim, or ask for the overlap population (estimand ATO).",
            "12 % des personnes ont un score de propension inférieur à 0,05 ou supérieur à 0,95 : presque personne "
            "comme elles n’a reçu l’autre traitement. Demander trim, ou la population de recouvrement (estimand ATO).",
        ),
        (
            "chains-not-mixed",
            "'bmi 1.5' (rhat 1.23): the chains lie apart (rhat above 1.1). Ask for more iterations.",
            "'bmi 1.5' (rhat 1,23) : les chaînes restent éloignées (rhat supérieur à 1,1). Demander plus d’itérations.",
        ),
    ],
)
def test_a_warning_is_said_in_french_with_its_numbers_and_names(code: str, text: str, french_: str) -> None:
    found = said(code, text, FR)
    assert (found.text.replace("\u202f", " ").replace(FIRM, " "), found.foreign) == (french_, False)
    assert said(code, text, EN) == (text, False)


def test_a_warning_of_a_plug_in_stays_english_and_is_marked(result: dict[str, Any]) -> None:
    assert said("few-events", "Ten are few.", FR) == ("Ten are few.", True)
    assert said("of-a-plug-in", "Ten are few.", FR) == ("Ten are few.", True)
    result["analyses"][1]["warnings"] = [{"code": "of-a-plug-in", "text": "Ten are few.", "page": ""}]
    assert '<span lang="en">Ten are few.</span>' in render(result, "fr")
    assert "<span>Ten are few.</span>" in render(result, "en")


def test_french_puts_a_blank_that_does_not_break_before_colons(result: dict[str, Any]) -> None:
    assert FR.colon == f"{FIRM}: "
    assert not [text for text in french().values() if " :" in text or " ;" in text]
    assert printed(result, 1, "coefficients", FR)[1][0] == f"size{FIRM}: 20-50"


def test_steps_of_attrition_are_said_in_french(result: dict[str, Any]) -> None:
    result["analyses"][0]["tables"]["attrition"] = [{"step": "left out", "reason": "missing age", "n": 4}]
    assert printed(result, 0, "attrition", FR)[1] == ["Exclus", f"age{FIRM}: donnée manquante", "4"]
    assert printed(result, 0, "attrition")[1] == ["Left out", "missing age", "4"]


def test_the_catalogue_keeps_the_fields_of_each_text() -> None:
    for english, translated in french().items():
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", translated)), english


def test_the_catalogue_holds_nothing_that_is_never_said() -> None:
    source = "".join(p.read_text(encoding="utf-8") for p in (SOURCE / "report").iterdir() if p.suffix in {".py", ".j2"})
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    assert [text for text in french() if f'"{text}"' not in joined and f"'{text}'" not in joined] == []
    assert all(len(pair) == 2 for pair in (*LABELS.values(), *METHODS.values()))


def test_an_untranslated_text_is_an_error() -> None:
    with pytest.raises(KeyError):
        FR("a text that nobody has translated")
