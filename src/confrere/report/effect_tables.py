"""Tables of an effect, as a journal sets them: effects, arms, balance, risks, what would explain the effect away."""

from __future__ import annotations

from confrere.report.effect_forest import measure_of
from confrere.report.notes import pattern
from confrere.report.schema import Record
from confrere.report.tables import Builder, Column, Row, Setting, Table, percents
from confrere.report.terms import read
from confrere.report.words import Words

ALIKE = 0.1
RMST = "RMST difference"  # in units of time


def effects(name: str, records: list[Record], setting: Setting) -> Table:
    """A row per measure: ratios as ratios, with their interval and P."""
    words, forms = setting.words, setting.words.numbers
    timed = any(r.get("time") is not None for r in records)
    named = [field for field in ("contrast", "cause") if any(r.get(field) for r in records)]
    columns = [Column(words.title("measure"), False), *(Column(words.title(field), False) for field in named)]
    columns += [Column(_timed(setting))] if timed else []
    columns += [Column(f"{words.title('estimate')} ({words.interval(setting.level)})"), Column(words.p)]
    rows = []
    for r in records:
        kind = measure_of(r["measure"])
        per, unit = (setting.clock.per, _unit(setting)) if r["measure"] == RMST else (1.0, "")
        value, low, high = (None if r.get(f) is None else r[f] / per for f in (kind.field, kind.low, kind.high))
        shown = forms.estimate(value, low, high, kind.ratio)
        cells = [words.title(r["measure"]) + unit, *(_whom(str(r.get(field) or ""), words) for field in named)]
        cells += [setting.clock.shown(r["time"], forms) if r.get("time") is not None else ""] if timed else []
        rows.append(Row((*cells, shown, forms.p_value(r.get("p_value")))))
    foot = (words("Differences are of the treated less the others, ratios the treated over the others."),)
    return Table(name, words("Effects of the treatment"), tuple(columns), tuple(rows), records, foot)


def _whom(text: str, words: Words) -> str:
    """An arm, or what is compared, in the language of the page."""
    for sentence in ("{name} alone", "{name} given {other}", "{name} at the margins"):
        if found := pattern(sentence).fullmatch(text):
            return words(sentence, **found.groupdict())
    return words.title(text)


def _timed(setting: Setting) -> str:
    return setting.words("Time") + _unit(setting)


def _unit(setting: Setting) -> str:
    """`, years`; nothing where the study names no unit."""
    return f", {setting.words.label(setting.clock.unit)}" if setting.clock.unit else ""


def arms(name: str, records: list[Record], setting: Setting) -> Table:
    """People, the effective number of them after weighting, events, and the mean outcome."""
    words, forms = setting.words, setting.words.numbers
    has = [f for f in ("events", "estimate") if any(r.get(f) is not None for r in records)]
    heads = {"events": words.title("events"), "estimate": f"{words('Mean outcome')} ({words.interval(setting.level)})"}
    columns = [Column(words.title("arm"), False), Column(words("People")), Column(words("Effective number"))]
    columns += [Column(heads[field]) for field in has]
    rows = []
    for r in records:
        mean = forms.estimate(r.get("estimate"), r.get("conf_low"), r.get("conf_high"), False)
        shown = {"events": forms.count(r.get("events")), "estimate": mean}
        effective = forms.fixed(r.get("effective_n"), 0)
        rows.append(Row((_whom(r["arm"], words), forms.count(r["n"]), effective, *(shown[field] for field in has))))
    foot = (words("Effective number: as many people with equal weights would tell as much."),)
    return Table(name, words("Arms"), tuple(columns), tuple(rows), records, foot)


def balance(name: str, records: list[Record], setting: Setting) -> Table:
    """Table 1 of a comparison: how far the arms lie apart, unweighted and weighted."""
    words, forms = setting.words, setting.words.numbers
    ratio = any(r.get("variance_ratio") is not None for r in records)
    heads = [words("SMD, unweighted"), words("SMD, weighted"), *([words.title("variance_ratio")] if ratio else [])]
    columns = (Column(words("Term"), False), *map(Column, heads))
    fields = ("smd_before", "smd_after", *(("variance_ratio",) if ratio else ()))
    rows = tuple(Row((read(r["term"]).said(words.colon), *(forms.fixed(r.get(f)) for f in fields))) for r in records)
    apart = sum(abs(r["smd_after"]) > ALIKE for r in records if r.get("smd_after") is not None)
    text = "SMD: standardised mean difference, the treated less the others. Over 0.1 after weighting: {n} of {all}."
    foot = words(text, n=forms.count(apart), all=forms.count(len(records)))
    return Table(name, words("Balance of the arms, unweighted and weighted"), columns, rows, records, (foot,))


def risks(name: str, records: list[Record], setting: Setting) -> Table:
    """Weighted risks of the arms at given times."""
    words = setting.words
    causes = any(r.get("cause") for r in records)
    columns = [Column(words.title("arm"), False), *([Column(words.title("cause"), False)] if causes else [])]
    columns += [Column(_timed(setting)), Column(f"{words('Risk')} ({words.interval(setting.level)})")]
    rows = tuple(
        Row((words.title(r["group"]), *([str(r.get("cause") or "")] if causes else []),
             setting.clock.shown(r["time"], words.numbers), percents(r, words)))
        for r in records
    )  # fmt: skip
    return Table(name, words("Weighted risks of the arms"), tuple(columns), rows, records)


def sensitivity(name: str, records: list[Record], setting: Setting) -> Table:
    """E-values of the estimate and of its limit, and tipping points."""
    words, forms = setting.words, setting.words.numbers
    heads = [words("Risk ratio it stands for"), words("E-value"), words("E-value of the limit"), words("Tipping point")]
    columns = (Column(words.title("measure"), False), *map(Column, heads))
    fields = ("risk_ratio", "e_value", "e_value_limit", "tipping")
    timed = ["" if r.get("time") is None else _at(r["time"], setting) for r in records]
    rows = tuple(
        Row((words.title(r["measure"]) + at, *(forms.significant(r.get(f)) for f in fields)))
        for r, at in zip(records, timed, strict=True)
    )
    foot = words(
        "E-value: how strongly something unmeasured would have to go with treatment and with outcome, as risk ratios, "
        "to explain the estimate away. Tipping point: by how much (of ratios: times) the outcomes of the treated would "
        "have to change until the limits reach no effect."
    )
    return Table(name, words("Sensitivity to what was not measured"), columns, rows, records, (foot,))


def _at(time: float, setting: Setting) -> str:
    """` (5 years)`."""
    unit = setting.words.label(setting.clock.unit) if setting.clock.unit else ""
    return f" ({f'{setting.clock.shown(time, setting.words.numbers)} {unit}'.strip()})"


BUILDERS: dict[str, Builder] = {
    "effects": effects, "arms": arms, "risks": risks, "balance": balance, "sensitivity": sensitivity,
}  # fmt: skip
