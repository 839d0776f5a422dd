"""Tables of cost and effect: what a treatment adds to either, what a unit of effect costs, and what that is worth."""

from __future__ import annotations

from functools import partial

from confrere.report.schema import Record
from confrere.report.tables import Builder, Column, Row, Setting, Table


def builders(unit: str) -> dict[str, Builder]:
    """How the tables are set; `unit` is what effects are counted in, such as years of life."""
    return {
        "effects": partial(effects, unit), "icer": partial(icer, unit), "net_benefit": net_benefit,
        "arms": partial(arms, unit), "budget_impact": budget_impact,
    }  # fmt: skip


def effects(unit: str, name: str, records: list[Record], setting: Setting) -> Table:
    """Incremental cost and effect, the effect with its unit."""
    words, forms = setting.words, setting.words.numbers
    columns = (Column(words.title("measure"), False), _interval("estimate", setting), Column(words.p))
    rows = []
    for r in records:
        named = words.title(r["measure"]) + (f" ({words.label(unit)})" if unit and "effect" in r["measure"] else "")
        rows.append(Row((named, _limits(r, setting), forms.p_value(r["p_value"]))))
    foot = words("Differences are of the treated less the others, ratios the treated over the others.")
    return Table(name, words("Effects of the treatment"), columns, tuple(rows), records, (foot,))


def icer(unit: str, name: str, records: list[Record], setting: Setting) -> Table:
    """What a unit of effect costs, with the limits of Fieller's theorem and of draws."""
    words, forms = setting.words, setting.words.numbers
    head, interval = words.title("icer"), words.interval(setting.level)
    columns = (
        Column(f"{head} ({words.label(unit)})" if unit else head), Column(words.title("quadrant"), False),
        Column(f"{interval}, Fieller"), Column(f"{interval}, {words('draws')}"),
    )  # fmt: skip
    rows = []
    for r in records:
        pairs = (forms.interval(*(forms.significant(r[f"{by}_{end}"]) for end in ("low", "high")))
                 for by in ("fieller", "percentile"))  # fmt: skip
        rows.append(Row((forms.significant(r["icer"]), words.title(r["quadrant"]), *pairs)))
    return Table(name, head, columns, tuple(rows), records)


def net_benefit(name: str, records: list[Record], setting: Setting) -> Table:
    """The net benefit by what a unit of effect is worth."""
    words, forms = setting.words, setting.words.numbers
    columns = (Column(words.title("willingness")), _interval(name, setting), Column(words.title("probability")))
    rows = tuple(
        Row((forms.count(r["willingness"]), _limits(r, setting), forms.percent(r["probability"]))) for r in records
    )
    foot = words("Probability: that the net benefit is positive.")
    return Table(name, words.title(name), columns, rows, records, (foot,))


def arms(unit: str, name: str, records: list[Record], setting: Setting) -> Table:
    """People, the share followed until the horizon, mean cost and effect with their standard errors."""
    words, forms = setting.words, setting.words.numbers
    effect = words.title("effect") + (f", {words.label(unit)}" if unit else "")
    heads = [words("People"), words("Effective number"), words.title("events"), words.title("followed")]
    heads += [f"{head} ({words.label('std_error')})" for head in (words.title("cost"), effect)]
    columns = (Column(words.title("arm"), False), *map(Column, heads))
    rows = []
    for r in records:
        means = (
            f"{form(r[f])} ({form(r[f'{f}_se'])})" for f, form in (("cost", forms.significant), ("effect", forms.fixed))
        )
        events = "*" if r["events"] is None else forms.count(r["events"])
        counts = (forms.count(r["n"]), forms.fixed(r["effective_n"], 0), events, forms.percent(r["followed"]))
        rows.append(Row((words.title(r["arm"]), *counts, *means)))
    foot = words("Effective number: as many people with equal weights would tell as much.")
    return Table(name, words("Arms"), columns, tuple(rows), records, (foot,))


def budget_impact(name: str, records: list[Record], setting: Setting) -> Table:
    """Of those who begin in each year, the incremental cost until the horizon."""
    words, forms = setting.words, setting.words.numbers
    columns = (Column(words.title("entering")), Column(words.title("eligible")), _interval("incremental cost", setting))
    rows = tuple(Row((forms.count(r["entering"]), forms.count(r["eligible"]), _limits(r, setting))) for r in records)
    return Table(name, words.title(name), columns, rows, records)


def _interval(head: str, setting: Setting) -> Column:
    return Column(f"{setting.words.title(head)} ({setting.words.interval(setting.level)})")


def _limits(record: Record, setting: Setting) -> str:
    return setting.words.numbers.estimate(record["estimate"], record["conf_low"], record["conf_high"], False)
