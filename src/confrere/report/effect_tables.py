"""Tables of an effect, as a journal sets them: effects, arms, Table 1, risks, what would explain the effect away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from confrere.report import control_tables, cost_tables, responder_tables
from confrere.report.effect_forest import RMST, in_unit, is_effect, measure_of
from confrere.report.notes import pattern
from confrere.report.numerals import NONE
from confrere.report.schema import Record
from confrere.report.tables import WITHHELD, Builder, Column, Row, Setting, Table, in_units, percents, timed
from confrere.report.terms import read
from confrere.report.words import Words

ALIKE = 0.1
ARMS = ("untreated", "treated")
BOTH = (
    "Events are those of these people. Those that count are of the clones in the strategy: within the grace period, an "
    "event of somebody who has not started counts in both strategies."
)


def effects(name: str, records: list[Record], setting: Setting) -> Table:
    """A row per measure: ratios as ratios, with their interval and P."""
    words, forms = setting.words, setting.words.numbers
    with_time = any(r.get("time") is not None for r in records)
    named = [field for field in ("adjustment", "contrast", "cause", "people") if any(r.get(field) for r in records)]
    counted = any(r.get("n") is not None for r in records)
    columns = [Column(words.title("measure"), False), *(Column(words.title(field), False) for field in named)]
    columns += [Column(timed(setting))] if with_time else []
    columns += [Column("n")] if counted else []
    columns += [Column(f"{words.title('estimate')} ({words.interval(setting.level)})"), Column(words.p)]
    rows = []
    for r in records:
        kind = measure_of(r["measure"])
        there, _ = in_unit(r, setting.clock)
        value, low, high = (there.get(f) for f in (kind.field, kind.low, kind.high))
        shown = forms.estimate(value, low, high, kind.ratio)
        cells = [_measured(r, setting), *(_whom(str(r.get(field) or ""), words) for field in named)]
        cells += [setting.clock.shown(r["time"], forms) if r.get("time") is not None else ""] if with_time else []
        cells += [forms.count(r.get("n"))] if counted else []
        rows.append(Row((*cells, shown, forms.p_value(r.get("p_value")))))
    foot = (words("Differences are of the treated less the others, ratios the treated over the others."),)
    return Table(name, words("Effects of the treatment"), tuple(columns), tuple(rows), records, foot)


def interaction(name: str, records: list[Record], setting: Setting) -> Table:
    """A row per measure of interaction, and time: ratios as ratios."""
    words, forms, clock = setting.words, setting.words.numbers, setting.clock
    with_time = any(r.get("time") is not None for r in records)
    columns = [Column(words.title("scale"), False), Column(words.title("measure"), False)]
    columns += [Column(timed(setting))] if with_time else []
    columns += [Column(f"{words.title('estimate')} ({words.interval(setting.level)})"), Column(words.p)]
    rows = []
    for r in records:
        ratio, lasts = r.get("ratio") is not None, r["measure"] == f"difference of {RMST}s"
        fields = ("ratio", "ratio_low", "ratio_high") if ratio else ("estimate", "conf_low", "conf_high")
        value, low, high = (None if r.get(f) is None else r[f] / (clock.per if lasts else 1) for f in fields)
        measure = words.title(r["measure"]) + (in_units("", setting) if lasts else "")
        time = [clock.shown(r["time"], forms) if r.get("time") is not None else ""] if with_time else []
        shown = forms.estimate(value, low, high, ratio)
        rows.append(Row((words.title(r["scale"]), measure, *time, shown, forms.p_value(r.get("p_value")))))
    foot = (words("No interaction: 0 on the additive scale (synergy index: 1), 1 on the multiplicative one."),)
    return Table(name, words("Interaction of the treatments"), tuple(columns), tuple(rows), records, foot)


def _whom(text: str, words: Words) -> str:
    """An arm, or what is compared, in the language of the page."""
    for sentence in ("{name} alone", "{name} given {other}", "{name} at the margins"):
        if found := pattern(sentence).fullmatch(text):
            return words(sentence, **found.groupdict())
    return words.title(text)


def _measured(record: Record, setting: Setting) -> str:
    """The name of a measure, and its unit where it is a length of time."""
    return setting.words.title(record["measure"]) + (in_units("", setting) if record["measure"] == RMST else "")


def arms(name: str, records: list[Record], setting: Setting) -> Table:
    """People, the effective number of them after weighting, events, and the mean outcome."""
    words, forms = setting.words, setting.words.numbers
    has = [f for f in ("events", "clone_events", "estimate") if any(r.get(f) is not None for r in records)]
    heads = {field: words.title(field) for field in ("events", "clone_events")}
    heads["estimate"] = f"{words('Mean outcome')} ({words.interval(setting.level)})"
    columns = [Column(words.title("arm"), False), Column(words("People")), Column(words("Effective number"))]
    columns += [Column(heads[field]) for field in has]
    rows = []
    for r in records:
        mean = forms.estimate(r.get("estimate"), r.get("conf_low"), r.get("conf_high"), False)
        shown = {field: forms.count(r.get(field)) for field in ("events", "clone_events")} | {"estimate": mean}
        effective = forms.fixed(r.get("effective_n"), 0)
        rows.append(Row((_whom(r["arm"], words), forms.count(r["n"]), effective, *(shown[field] for field in has))))
    foot = [words("Effective number: as many people with equal weights would tell as much.")]
    foot += [words(BOTH)] if "clone_events" in has else []
    return Table(name, words("Arms"), tuple(columns), tuple(rows), records, tuple(foot))


def balance(name: str, records: list[Record], setting: Setting) -> Table:
    """Table 1 of a comparison, weighted beside unweighted: means and shares by arm, and how far the arms lie apart."""
    words, forms = setting.words, setting.words.numbers
    ratio = any(r.get("variance_ratio") is not None for r in records)
    heads = [words("{arm}, unweighted", arm=words.title(arm)) for arm in ARMS] + [words("SMD, unweighted")]
    heads += [words("{arm}, weighted", arm=words.title(arm)) for arm in ARMS] + [words("SMD, weighted")]
    heads += [words.title("variance_ratio")] if ratio else []
    columns = (Column(words("Term"), False), *map(Column, heads))
    rows = tuple(_of_term(r, ratio, setting) for r in _with_references(records, setting.against))
    apart = sum(abs(r["smd_after"]) > ALIKE for r in records if r.get("smd_after") is not None)
    text = "SMD: standardised mean difference, the treated less the others. Over 0.1 after weighting: {n} of {all}."
    foot = [words("Means; of levels, the share of the people of the arm who have them.")]
    foot += [words(text, n=forms.count(apart), all=forms.count(len(records)))]
    foot += [words(WITHHELD, k=setting.k)] if any(r.get("suppressed") for r in records) else []
    return Table(name, words("Table 1: the arms, unweighted and weighted"), columns, rows, records, tuple(foot))


def _of_term(record: Record, ratio: bool, setting: Setting) -> Row:
    """The line of a term; a reference level has no difference of its own."""
    term, forms = read(record["term"]), setting.words.numbers

    def shown(field: str) -> str:
        value = record.get(field)
        if value is None:
            return "*" if record.get("suppressed") else NONE
        return forms.percent(value) if term.level else forms.significant(value)

    cells = [term.said(setting.words.colon)]
    for when in ("before", "after"):
        cells += [*(shown(f"{arm}_{when}") for arm in ARMS), forms.fixed(record.get(f"smd_{when}"))]
    return Row((*cells, *([forms.fixed(record.get("variance_ratio"))] if ratio else [])))


def _with_references(records: list[Record], against: Mapping[str, str]) -> Iterator[Record]:
    """The records, and before the levels of a variable one of its reference level: who has none of them."""
    levels: dict[str, list[Record]] = {}
    for record in records:
        term = read(record["term"])
        if term.level and term.variable in against:
            levels.setdefault(term.variable, []).append(record)
    for record in records:
        variable = read(record["term"]).variable
        if others := levels.pop(variable, []):
            yield _rest(f"{variable}[{against[variable]}]", others)
        yield record


def _rest(term: str, others: list[Record]) -> Record:
    """The shares of who has none of these levels."""
    rest: Record = {"term": term, "suppressed": any(r.get("suppressed") for r in others)}
    for field in (f"{arm}_{when}" for when in ("before", "after") for arm in ARMS):
        shares = [float(r[field]) for r in others if r.get(field) is not None]
        rest[field] = max(1 - sum(shares), 0.0) if len(shares) == len(others) else None
    return rest


def risks(name: str, records: list[Record], setting: Setting) -> Table:
    """Weighted risks of the arms at given times."""
    words = setting.words
    causes = any(r.get("cause") for r in records)
    columns = [Column(words.title("arm"), False), *([Column(words.title("cause"), False)] if causes else [])]
    columns += [Column(timed(setting)), Column(f"{words('Risk')} ({words.interval(setting.level)})")]
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
        Row((_measured(r, setting) + at, *(forms.significant(_tipping(r, setting).get(f)) for f in fields)))
        for r, at in zip(records, timed, strict=True)
    )
    foot = words(
        "E-value: how strongly something unmeasured would have to go with treatment and with outcome, as risk ratios, "
        "to explain the estimate away. Tipping point: by how much (of ratios: times) the outcomes of the treated would "
        "have to change until the limits reach no effect."
    )
    return Table(name, words("Sensitivity to what was not measured"), columns, rows, records, (foot,))


def _tipping(record: Record, setting: Setting) -> Record:
    """The record, its tipping point in the unit in which times are shown where it is a length of time."""
    if record["measure"] != RMST or record.get("tipping") is None:
        return record
    return record | {"tipping": record["tipping"] / setting.clock.per}


def _at(time: float, setting: Setting) -> str:
    """` (5 years)`."""
    return f" ({setting.words.length(setting.clock.shown(time, setting.words.numbers), setting.clock.unit)})"


def builders(analysis: Mapping[str, Any]) -> Mapping[str, Builder]:
    """How the tables of an analysis that compares arms are set; of any other none."""
    tables = analysis["tables"]
    if tables.get("icer"):
        return {**cost_tables.builders(str(analysis["facts"].get("effect", ""))), "balance": balance}
    if not is_effect(analysis):
        return {}
    return {**BUILDERS, **(responder_tables.BUILDERS if analysis["method"] == "responders" else {})}


BUILDERS: dict[str, Builder] = {
    "effects": effects, "arms": arms, "risks": risks, "balance": balance, "sensitivity": sensitivity,
    "interaction": interaction, **control_tables.BUILDERS,
}  # fmt: skip
