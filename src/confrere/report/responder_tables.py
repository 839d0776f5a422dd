"""Tables of who benefits: subgroups, classes of the predicted effect, what a rule gains, whether it holds again."""

from __future__ import annotations

from confrere.report.numerals import NONE
from confrere.report.responder_forest import predicted
from confrere.report.schema import Record
from confrere.report.tables import WITHHELD, Builder, Column, Row, Setting, Table


def subgroups(name: str, records: list[Record], setting: Setting) -> Table:
    """A row per leaf: its effect, how it differs from that of all others, and whether it benefits."""
    words, forms = setting.words, setting.words.numbers
    heads = [_people(setting), _head("effect", setting), words("Difference from the others (SE)")]
    heads += [words.p, words("P, Holm"), words.title("benefits")]
    heads += [words("The tree treats")] if any(r.get("treat") is not None for r in records) else []
    columns = (Column(words.title("subgroup"), False), *map(Column, heads))
    rows = []
    for r in records:
        apart = _with_error(r.get("difference"), r.get("difference_se"), setting)
        cells = [r["rule"] or words("All"), _counts(r, setting), _limits(r, setting), apart]
        cells += [forms.p_value(r.get("p_value")), forms.p_value(r.get("p_holm")), forms.any(r.get("benefits"))]
        rows.append(Row((*cells, *([forms.any(r.get("treat"))] if len(heads) > 6 else []))))
    said = words(
        "P: that the effect is that of all others; by Holm, of all subgroups. Benefits: it differs from the others (P "
        "by Holm under 0.05) and its limits are on the side of a benefit."
    )
    foot = [said, *([words(WITHHELD, k=setting.k)] if any(r.get("suppressed") for r in records) else [])]
    return Table(name, words.title(name), columns, tuple(rows), records, tuple(foot))


def groups(name: str, records: list[Record], setting: Setting) -> Table:
    """Classes of the predicted effect, and the effect found in each."""
    words = setting.words
    columns = (
        Column(words("Class of the predicted effect"), False),
        Column(_people(setting)),
        Column(_head("effect", setting)),
    )
    rows = tuple(Row((predicted(r, words), _counts(r, setting), _limits(r, setting))) for r in records)
    return Table(name, words("Effect by class of the predicted effect"), columns, rows, records)


def value(name: str, records: list[Record], setting: Setting) -> Table:
    """Mean outcomes by who is treated, and what rules gain."""
    words, forms = setting.words, setting.words.numbers
    columns = (Column(words.title("policy"), False), Column(words("Share treated")), Column(_head("estimate", setting)))
    shares = ("" if r["share_treated"] is None else forms.percent(r["share_treated"]) for r in records)
    rows = tuple(
        Row((words.title(r["policy"]), share, _limits(r, setting))) for r, share in zip(records, shares, strict=True)
    )
    foot = words("Mean outcomes; gains are in benefit, less the threshold for each person treated.")
    return Table(name, words("Who is treated, and the mean outcome"), columns, rows, records, (foot,))


def estimates(caption: str) -> Builder:
    """A row per named estimate, with its interval and P."""

    def build(name: str, records: list[Record], setting: Setting) -> Table:
        words, forms = setting.words, setting.words.numbers
        columns = (Column(words.title("measure"), False), Column(_head("estimate", setting)), Column(words.p))
        rows = tuple(
            Row((words.title(str(r.get("measure", r.get("term")))), _limits(r, setting), forms.p_value(r["p_value"])))
            for r in records
        )
        return Table(name, words(caption), columns, rows, records)

    return build


def rules(name: str, records: list[Record], setting: Setting) -> Table:
    """Each rule that a split found: how often, and whether it holds over all."""
    words, forms = setting.words, setting.words.numbers
    heads = [words("Found in splits"), words("Benefits in"), words("Median effect"), words.p, words("Holds")]
    columns = (Column(words.title("subgroup"), False), *map(Column, heads))
    rows = []
    for r in records:
        found = words("{count} of {asked}", count=forms.count(r["found"]), asked=forms.count(r["splits"]))
        shown = (forms.count(r["benefits"]), forms.significant(r["estimate"]), forms.p_value(r["p_value"]))
        rows.append(Row((r["rule"] or words("All"), found, *shown, forms.any(r["holds"]))))
    return Table(name, words("Subgroups over all splits"), columns, tuple(rows), records)


def stability(name: str, records: list[Record], setting: Setting) -> Table:
    """Each split: average effect, slope of the calibration, ranking, and the subgroups that benefit."""
    words, forms = setting.words, setting.words.numbers
    se = f"({words.label('std_error')})"
    heads = [f"{words.title(of)} {se}" for of in ("average effect", "slope")] + [words.p, f"AUTOC {se}"]
    columns = (Column(words("Split"), False), *map(Column, heads), Column(words("Subgroups that benefit"), False))
    rows = []
    for r in records:
        pairs = [_with_error(r[f], r[f"{f}_se"], setting) for f in ("average", "slope", "autoc")]
        split = r["split"].replace("swapped", words("swapped"))
        rows.append(Row((split, *pairs[:2], forms.p_value(r["slope_p"]), pairs[2], r["rules"] or NONE)))
    return Table(name, words("The same in other splits"), columns, tuple(rows), records)


def _people(setting: Setting) -> str:
    return setting.words("People (treated)")


def _head(name: str, setting: Setting) -> str:
    return f"{setting.words.title(name)} ({setting.words.interval(setting.level)})"


def _counts(record: Record, setting: Setting) -> str:
    forms = setting.words.numbers
    return "*" if record.get("n") is None else f"{forms.count(record['n'])} ({forms.count(record['treated'])})"


def _limits(record: Record, setting: Setting) -> str:
    estimate, low, high = (record.get(f) for f in ("estimate", "conf_low", "conf_high"))
    return setting.words.numbers.estimate(estimate, low, high, False)


def _with_error(value: float | None, error: float | None, setting: Setting) -> str:
    forms = setting.words.numbers
    return NONE if value is None else f"{forms.significant(value)} ({forms.significant(error, 2)})"


BUILDERS: dict[str, Builder] = {
    "subgroups": subgroups, "calibration": estimates("Calibration of the predicted effects"), "groups": groups,
    "ranking": estimates("Ranking by the predicted effect"), "value": value, "rules": rules, "stability": stability,
}  # fmt: skip
