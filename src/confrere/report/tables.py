"""Tables as a journal sets them: records in, headed columns of printed numbers out. Pure.

Tables with a known name are set for reading; any other is printed field by field. Nothing is lost: the records
themselves stay in `Table.records`, for the numbers under each table and its CSV.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from confrere.report.axes import Clock
from confrere.report.figures import (
    COUNTS,
    coarse,
    fitted_model,
    group_label,
    group_name,
    grouped_by,
    is_estimated,
    level,
    noted,
    reference_levels,
    shown_clock,
)
from confrere.report.forest import measure
from confrere.report.notes import told
from confrere.report.numerals import NONE
from confrere.report.schema import Record
from confrere.report.terms import read
from confrere.report.words import Words

WITHHELD = "* Count withheld: fewer than {k} people, or few hospitals, stand behind it, or one that follows from it."
BETWEEN = "Numbers at risk between the edges of cells are estimated."
K = 11  # the rule for published cells, where the study does not say its own
DRAWN = (  # a figure has their numbers under it
    "curve", "strategy_curve", "trial_curve", "incidence", "risk", "roc", "overlap", "pathways", "acceptability",
    "decision", "training", "importance",
)  # fmt: skip
SAID = {  # of known words
    "measure", "by", "state", "diagnostic", "metric", "sample", "arm", "adjustment", "quadrant", "scale", "what",
    "attack",
}  # fmt: skip
LONGEST, RESIDUE = 40, 1e-12  # records of a table in the report; what arithmetic leaves of nothing


class Column(NamedTuple):
    """A head, and whether numbers stand under it (set to the right)."""

    head: str
    number: bool = True


class Row(NamedTuple):
    """A line; `look` is "", "heading" (a variable over its levels) or "level" (indented)."""

    cells: tuple[str, ...]
    look: str = ""


class Table(NamedTuple):
    """A table as it is read, and the records behind it."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    records: list[Record]
    foot: tuple[str, ...] = ()
    stem: str = ""  # its file name without ending; set once all tables of a result are known


class Setting(NamedTuple):
    """What a builder needs beside the records."""

    words: Words
    clock: Clock
    level: float
    k: int
    against: dict[str, str]  # the reference level of variables, where it is known
    factor: str  # the variable by which groups are made, where it is known
    model: str = ""  # that was fitted, of a method of several
    coarse: bool = False  # whether counts at a time may be estimated between the edges of cells


Builder = Callable[[str, list[Record], Setting], Table]


def threshold(study: Mapping[str, Any]) -> int:
    """People on whom a released number must rest."""
    return int(study.get("k", K))


def tables(analysis: Mapping[str, Any], study: Mapping[str, Any], words: Words) -> list[Table]:
    """The tables of one analysis, in the order in which they are read."""
    time, against = shown_clock(analysis, study["time_unit"]), reference_levels(analysis, study)
    by, model = grouped_by(analysis), fitted_model(analysis)
    setting = Setting(words, time, level(analysis), threshold(study), against, by, model, coarse(analysis))
    given = {name: records for name, records in analysis["tables"].items() if records}
    builders = _builders(analysis)
    known = [name for name in builders if name in given]
    made = [
        builders.get(name, generic)(name, given[name], setting)
        for name in [*known, *(name for name in given if name not in builders)]
    ]
    return [table._replace(records=noted(table.records, setting.coarse)) for table in made]


def _builders(analysis: Mapping[str, Any]) -> Mapping[str, Builder]:
    """How the tables of an analysis are set; those of an effect come first."""
    from confrere.report import effect_tables  # which sets its tables by this module

    first = effect_tables.builders(analysis)
    return {**first, **BUILDERS, "propensity": _propensity} if first else BUILDERS


def fields(records: Sequence[Record]) -> list[str]:
    """Every field of the records, in order of first appearance."""
    return list(dict.fromkeys(field for record in records for field in record))


def generic(name: str, records: list[Record], setting: Setting) -> Table:
    """Field by field; a column holds numbers if nothing else stands in it."""
    words = setting.words
    shown = [f for f in fields(records) if f not in ("suppressed", "n_low", "n_high") and not _is_empty(records, f)]
    columns = tuple(Column(words.title(field), numeric(records, field)) for field in shown)
    first = records[:LONGEST]
    named = [r | {"group": group_label(r["group"], setting.factor)} if "group" in r else r for r in first]
    rows = tuple(Row(tuple(_cell(field, record, setting) for field in shown)) for record in named)
    estimated = (words(BETWEEN),) if any(is_estimated(r) and setting.coarse for r in records) else ()
    short = (words("SMD, standardised mean difference."),) if "smd" in (*shown, records[0].get("diagnostic")) else ()
    more = (words("{n} more rows are in the CSV file.", n=len(records) - LONGEST),) if records[LONGEST:] else ()
    foot = (*_withheld(records, setting), *estimated, *short, *more)
    return Table(name, words.title(name), columns, rows, records, foot)


def _is_empty(records: list[Record], field: str) -> bool:
    """Whether nobody has anything in a field, and nothing was withheld there."""
    return all(r.get(field) in (None, "") and not r.get("suppressed") and r.get("n_high") is None for r in records)


def _cell(field: str, record: Record, setting: Setting) -> str:
    words, value = setting.words, record.get(field)
    if field == "n" and value is None and record.get("n_high") is not None:  # between these ends
        return words.numbers.interval(words.numbers.any(record["n_low"]), words.numbers.any(record["n_high"])) + "*"
    if field in SAID or (field == "level" and record.get("by") == "sex"):
        return words.title(str(value))
    if value is None and record.get("suppressed") and field in _hidden(record):
        return "*"
    if field in COUNTS and setting.coarse and is_estimated(record):
        return words.numbers.about(value)
    if field == "p_value":
        return words.numbers.p_value(value)
    if field == "share":
        return words.numbers.percent(value)
    return words.numbers.any(0.0 if isinstance(value, float) and abs(value) < RESIDUE else value)


def _hidden(record: Record) -> set[str]:
    """Of a record that was withheld, the fields with an asterisk: its counts, or else what would follow from them."""
    empty = {field for field, value in record.items() if value is None}
    return empty & {"n", "at_risk", "events", "censored"} or empty - {"std_error", "conf_low", "conf_high"}


def numeric(records: list[Record], field: str) -> bool:
    """Whether numbers alone stand in a field."""
    values = [record.get(field) for record in records]
    return all(v is None or (isinstance(v, (int, float)) and not isinstance(v, bool)) for v in values)


def _withheld(records: list[Record], setting: Setting) -> tuple[str, ...]:
    """The footnote that an asterisk needs."""
    if not any(record.get("suppressed") for record in records):
        return ()
    return (setting.words(WITHHELD, k=setting.k),)


def _ranged(record: Record, form: Callable[[float | None], str], words: Words) -> str:
    """`4.11 (3.49–4.53)`; the estimate alone where it has no interval."""
    if record["estimate"] is None:
        return NONE
    limits = words.numbers.interval(form(record.get("conf_low")), form(record.get("conf_high")))
    return form(record["estimate"]) if limits == NONE else f"{form(record['estimate'])} ({limits})"


def _coefficients(name: str, records: list[Record], setting: Setting) -> Table:
    """Ratio and coefficient with their interval, standard errors, statistic and P."""
    words, kind, forms = setting.words, measure(records, setting.model), setting.words.numbers
    errors = [field for field in ("std_error", "robust_se") if any(r.get(field) is not None for r in records)]
    interval = words.interval(setting.level)
    heads = [f"{words(kind.short)} ({interval})", *(["β"] if kind.ratio else [])]
    heads += [words.title(field) for field in errors]
    heads += [words.title("statistic"), words.p]
    rows = []
    for record in records:
        value, low, high = (record.get(field) for field in (kind.field, kind.low, kind.high))
        cells = [read(record["term"]).said(words.colon), forms.estimate(value, low, high, kind.ratio)]
        cells += [forms.significant(record["estimate"])] if kind.ratio else []
        cells += [forms.significant(record.get(field)) for field in errors]
        rows.append(Row((*cells, forms.fixed(record["statistic"]), forms.p_value(record["p_value"]))))
    columns = (Column(words("Term"), False), *map(Column, heads))
    named = "; ".join(f"{variable} {reference}" for variable, reference in setting.against.items())
    foot = (words("Reference levels: {levels}.", levels=named),) if named else ()
    return Table(name, words("Estimates"), columns, tuple(rows), records, foot)


def _propensity(name: str, records: list[Record], setting: Setting) -> Table:
    """The model of the propensity, by its own name: coefficients, or what the terms are to trees."""
    if "total_gain" in records[0]:
        return generic(name, records, setting)
    return _coefficients(name, records, setting)._replace(caption=setting.words.title("propensity"))


def _grouped(records: list[Record], setting: Setting) -> tuple[list[Column], Callable[[Record], list[str]]]:
    """A first column of groups, unless everybody is one group."""
    words = setting.words
    if all(group_name(record.get("group")) == "" for record in records):
        return [], lambda record: []
    return [Column(words.title("group"), False)], lambda record: [
        group_label(record.get("group"), setting.factor) or words("All")
    ]


def _survival(name: str, records: list[Record], setting: Setting) -> Table:
    """A row for every time, a column for every group, or every cause in it."""
    words, time = setting.words, setting.clock
    caption = words("Survival at given times" if name == "survival" else "Cumulative incidence at given times")
    interval = words.interval(setting.level)

    def head(record: Record) -> str:
        label = group_label(record["group"], setting.factor)
        return ", ".join(filter(None, (group_name(record.get("cause")), label)))

    heads = list(dict.fromkeys(head(record) for record in records))
    columns = [Column(in_units(words("Time"), setting), False)]
    columns += [Column(f"{label or words('Survival')} ({interval})") for label in heads]
    at = {(record["time"], head(record)): record for record in records}
    rows = []
    for moment in dict.fromkeys(record["time"] for record in records):
        cells = [at.get((moment, label), {"estimate": None}) for label in heads]
        shown = (percents(record, words) for record in cells)
        rows.append(Row((time.shown(moment, words.numbers), *shown)))
    return Table(name, caption, tuple(columns), tuple(rows), records)


def percents(record: Record, words: Words) -> str:
    """`45.1% (42.3–48.1)`."""
    forms = words.numbers
    low, high = (None if record.get(f) is None else 100 * record[f] for f in ("conf_low", "conf_high"))
    limits = forms.interval(forms.fixed(low, 1), forms.fixed(high, 1))
    estimate = forms.percent(record["estimate"])
    return estimate if NONE in (limits, estimate) else f"{estimate} ({limits})"


def _median(name: str, records: list[Record], setting: Setting) -> Table:
    words = setting.words
    columns, group = _grouped(records, setting)
    columns.append(Column(f"{in_units(words('Median'), setting)} ({words.interval(setting.level)})"))
    rows = []
    for record in records:
        shown = _ranged(record, _timed(setting), words)
        reached = words("not reached") if record["estimate"] is None else shown
        rows.append(Row((*group(record), reached.replace(NONE + ")", words("not reached") + ")"))))
    return Table(name, words("Median time"), tuple(columns), tuple(rows), records)


def _rmst(name: str, records: list[Record], setting: Setting) -> Table:
    words, form = setting.words, _timed(setting)
    columns, group = _grouped(records, setting)
    columns.append(Column(in_units(words.title("tau"), setting)))
    columns.append(Column(f"{in_units(words.title('estimate'), setting)} ({words.interval(setting.level)})"))
    columns.append(Column(words.label("std_error")))
    rows = tuple(
        Row(
            (
                *group(record),
                setting.clock.shown(record["tau"], words.numbers),
                _ranged(record, form, words),
                form(record["std_error"]),
            )
        )
        for record in records
    )
    return Table(name, words("Restricted mean time"), tuple(columns), rows, records)


def _timed(setting: Setting) -> Callable[[float | None], str]:
    """How a length of time is printed: two decimals of a year, one of a day."""
    digits = 2 if setting.clock.unit == "years" else 1
    return lambda value: setting.words.numbers.fixed(None if value is None else value / setting.clock.per, digits)


def timed(setting: Setting) -> str:
    """`Time, years`: the head of a column of times."""
    return in_units(setting.words("Time"), setting)


def in_units(head: str, setting: Setting) -> str:
    """`Time, years`: a head and the unit of time, where the study names one."""
    unit = setting.clock.unit
    return f"{head}, {setting.words.label(unit)}" if unit else head


def _tests(name: str, records: list[Record], setting: Setting) -> Table:
    words = setting.words
    caption = words("Tests")
    columns = (
        Column(words.title("test"), False),
        Column(words.title("statistic")),
        Column(words.label("df")),
        Column(words.p),
    )
    rows = tuple(Row((words.title(record["test"]), *_tested(record, words))) for record in records)
    return Table(name, caption, columns, rows, records)


def _checks(name: str, records: list[Record], setting: Setting) -> Table:
    """A row per term; chi-square and P for every transformation of time beside each other."""
    words = setting.words
    transforms = list(dict.fromkeys(record["transform"] for record in records))
    columns = [Column(words("Term"), False), Column(words.label("df"))]
    for transform in transforms:
        named = words.label(transform)
        columns += [Column(f"χ², {named}"), Column(f"{words.p}, {named}")]
    at = {(record["term"], record["transform"]): record for record in records}
    rows = []
    for term in dict.fromkeys(record["term"] for record in records):
        found = [at.get((term, transform), {}) for transform in transforms]
        df = next((record["df"] for record in found if record), None)
        cells = [_checked_term(term, words), words.numbers.any(df)]
        for record in found:
            cells += [words.numbers.fixed(record.get("statistic")), words.numbers.p_value(record.get("p_value"))]
        rows.append(Row(tuple(cells)))
    return Table(name, words("Checks of proportional hazards"), tuple(columns), tuple(rows), records)


def _checked_term(term: str, words: Words) -> str:
    return words.title(term) if term.lower() == "global" else read(term).said(words.colon)


def _tested(record: Record, words: Words) -> tuple[str, str, str]:
    forms = words.numbers
    return forms.fixed(record["statistic"]), forms.any(record["df"]), forms.p_value(record["p_value"])


def _attrition(name: str, records: list[Record], setting: Setting) -> Table:
    words = setting.words
    columns = (Column(words("Step"), False), Column(words.title("reason"), False), Column(words("People")))
    rows = tuple(
        Row((words.title(record["step"]), _reason(record["reason"], words), _cell("n", record, setting)))
        for record in records
    )
    return Table(name, words.title(name), columns, rows, records, _withheld(records, setting))


def _funnel(name: str, records: list[Record], setting: Setting) -> Table:
    words = setting.words
    columns = (Column(words("Step"), False), Column(words.title("criterion"), False), Column(words("People")))
    rows = tuple(
        Row((words.title(record["step"]), record["criterion"], _cell("n", record, setting))) for record in records
    )
    return Table(name, words.title(name), columns, rows, records, _withheld(records, setting))


def _reason(reason: str | None, words: Words) -> str:
    """Why people are left out, in the language of the page; a column keeps its name."""
    column = (reason or "").removeprefix("missing ")
    return words("missing {column}", column=column) if column != (reason or "") else told(column, words).text


def _table1(name: str, records: list[Record], setting: Setting) -> Table:
    """One column per group: numbers as mean and median, categories as n (%), differences at the end."""
    words = setting.words
    groups = list(dict.fromkeys(group_name(record["group"]) for record in records))
    smd = any(record.get("smd") is not None for record in records)
    named = [group_label(group, setting.factor) or words("All") for group in groups]
    heads = [f"{name} ({_people(records, group, words)})" for name, group in zip(named, groups, strict=True)]
    columns = [Column(words("Characteristic"), False), *map(Column, heads)]
    columns += [Column(words("SMD"))] if smd else []
    rows: list[Row] = []
    for variable in dict.fromkeys(record["variable"] for record in records):
        about = _marks([record for record in records if record["variable"] == variable])
        numbers = all(record["level"] is None for record in about)
        rows += (_number_rows if numbers else _level_rows)(about, groups, smd, words)
    note = "SMD, standardised mean difference. Categories: n (%) of those known."
    foot = words(note if smd else "Categories: n (%) of those known.")
    caption = words("Patients, by group" if len(groups) > 1 else "Patients")
    return Table(name, caption, tuple(columns), tuple(rows), records, (foot, *_withheld(records, setting)))


def _marks(about: list[Record]) -> list[Record]:
    """A variable that is 0 or 1 throughout as two levels, with the share that its records give; any other as it is."""
    known = [record for record in about if record.get("mean") is not None]
    if not known or any(record["level"] is not None or "percent" not in record for record in known):
        return about
    levels = []
    for record in about:
        ones = round(record["n"] * record["percent"] / 100) if "percent" in record and record["n"] else None
        none = None if ones is None else record["n"] - ones
        levels += [record | {"level": level, "n": n} for level, n in (("0", none), ("1", ones))]
    return levels


def _people(records: list[Record], group: str, words: Words) -> str:
    """`n = 339`: the people of a group, as the variable that knows of most of them says."""
    totals: dict[str, float] = {}
    unknown: set[str] = set()
    for record in records:
        if group_name(record["group"]) != group:
            continue
        variable = record["variable"]
        if record["n"] is None or record["missing"] is None:
            unknown.add(variable)
        first = variable not in totals
        totals[variable] = totals.get(variable, 0) + (record["n"] or 0) + ((record["missing"] or 0) if first else 0)
    known = [total for variable, total in totals.items() if variable not in unknown]
    return f"n = {words.numbers.count(max(known))}" if known else "n = *"


def _of(about: list[Record], group: str) -> list[Record]:
    return [record for record in about if group_name(record["group"]) == group]


def _difference(about: list[Record], smd: bool, words: Words) -> tuple[str, ...]:
    if not smd:
        return ()
    found = next((record["smd"] for record in about if record.get("smd") is not None), None)
    return (words.numbers.fixed(found) if found is not None else "",)


def _number_rows(about: list[Record], groups: list[str], smd: bool, words: Words) -> list[Row]:
    forms = words.numbers
    rows = [Row((about[0]["variable"], *[""] * len(groups), *_difference(about, smd, words)), "heading")]
    blank = ("",) if smd else ()
    means, medians, missing = [], [], []
    for group in groups:
        record = next(iter(_of(about, group)), {})
        mean, deviation = forms.significant(record.get("mean")), forms.significant(record.get("std_dev"))
        means.append(NONE if record.get("mean") is None else f"{mean} ({deviation})")
        quarters = forms.interval(forms.short(record.get("q25")), forms.short(record.get("q75")))
        middle = forms.short(record.get("median"))
        medians.append(NONE if record.get("median") is None else f"{middle} [{quarters}]")
        missing.append(record)
    for name, cells in ((words("Mean (SD)"), means), (words("Median [IQR]"), medians)):
        if any(cell != NONE for cell in cells):
            rows.append(Row((name, *cells, *blank), "level"))
    return rows + _missing_row(missing, blank, words)


def _level_rows(about: list[Record], groups: list[str], smd: bool, words: Words) -> list[Row]:
    rows = [Row((about[0]["variable"], *[""] * len(groups), *_difference(about, smd, words)), "heading")]
    blank = ("",) if smd else ()
    for name in dict.fromkeys(record["level"] for record in about if record["level"] is not None):
        cells = []
        for group in groups:
            inside = _of(about, group)
            record = next((record for record in inside if record["level"] == name), {})
            cells.append(_share(record, inside, words))
        rows.append(Row((group_name(name), *cells, *blank), "level"))
    firsts: list[Record] = [next(iter(_of(about, group)), {}) for group in groups]
    return rows + _missing_row(firsts, blank, words)


def _share(record: Record, inside: list[Record], words: Words) -> str:
    """`n (%)`; no percentage where a level is withheld, for its count could be worked out from it."""
    count = record.get("n")
    if count is None:
        return "*" if record.get("suppressed") else NONE
    counts = [other["n"] for other in inside if other["level"] is not None]
    if None in counts or not sum(counts):
        return words.numbers.count(count)
    return f"{words.numbers.count(count)} ({words.numbers.percent(count / sum(counts))})"


def _missing_row(records: list[Record], blank: tuple[str, ...], words: Words) -> list[Row]:
    counts = [record.get("missing", 0) for record in records]
    if not any(count is None or count > 0 for count in counts):
        return []
    shown = ["*" if count is None else words.numbers.count(count) for count in counts]
    return [Row((words("Missing"), *shown, *blank), "level")]


BUILDERS: dict[str, Builder] = {
    "attrition": _attrition,
    "funnel": _funnel,
    "table1": _table1,
    "coefficients": _coefficients,
    "median": _median,
    "survival": _survival,
    "at_times": _survival,
    "rmst": _rmst,
    "tests": _tests,
    "test": _tests,
    "proportional_hazards": _checks,
}
