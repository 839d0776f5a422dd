"""Tables of what controls say of an effect: their ratios, and the effect calibrated by them. Ratios, not logarithms."""

from __future__ import annotations

from confrere.report.effect_forest import measure_of
from confrere.report.notes import told
from confrere.report.schema import Record
from confrere.report.tables import Builder, Column, Row, Setting, Table, timed


def controls(name: str, records: list[Record], setting: Setting) -> Table:
    """A row per control and ratio; why there is none, in its place."""
    words, forms = setting.words, setting.words.numbers
    several = [f for f in ("treatment", "truth", "cause") if len({str(r.get(f) or "") for r in records}) > 1]
    with_time = any(r.get("time") is not None for r in records)
    columns = [Column(words.title("outcome"), False), *(Column(words.title(f), f == "truth") for f in several)]
    columns += [Column(words.title("measure"), False), *([Column(timed(setting))] if with_time else [])]
    columns += [Column(f"{words.title('ratio')} ({words.interval(setting.level)})"), Column(words.p)]
    rows = []
    for r in records:
        cells = [str(r["outcome"]), *(forms.any(r.get(f)) for f in several), words.title(r["measure"])]
        cells += [setting.clock.shown(r["time"], forms) if r.get("time") is not None else ""] if with_time else []
        shown = told(r["reason"], words).text if r.get("reason") else _ratio(r, setting)
        rows.append(Row((*cells, shown, forms.p_value(r.get("p_value")))))
    return Table(name, words.title(name), tuple(columns), tuple(rows), records)


def calibrated(name: str, records: list[Record], setting: Setting) -> Table:
    """The effect with the errors of the controls taken off, and how large these are."""
    words, forms = setting.words, setting.words.numbers
    causes = any(r.get("cause") for r in records)
    with_time = any(r.get("time") is not None for r in records)
    positive = any(r["positive_controls"] for r in records)
    columns = [Column(words.title("measure"), False), *([Column(words.title("cause"), False)] if causes else [])]
    columns += [Column(timed(setting))] if with_time else []
    columns += [Column(f"{words.title('ratio')}, {words('calibrated')} ({words.interval(setting.level)})")]
    columns += [Column(words.p), Column(words.title("ease")), Column(words.title("negative_controls"))]
    columns += [Column(words.title("positive_controls"))] if positive else []
    rows = []
    for r in records:
        cells = [words.title(r["measure"]), *([str(r.get("cause") or "")] if causes else [])]
        cells += [setting.clock.shown(r["time"], forms) if r.get("time") is not None else ""] if with_time else []
        cells += [_ratio(r, setting), forms.p_value(r["p_value"]), forms.fixed(r["ease"])]
        cells += [forms.count(r["negative_controls"]), *([forms.count(r["positive_controls"])] if positive else [])]
        rows.append(Row(tuple(cells)))
    foot = words(
        "Calibrated: the systematic errors that controls show are taken off, and their spread widens the interval. "
        "The expected absolute systematic error is of a log ratio, 0 at best."
    )
    return Table(name, words.title(name), tuple(columns), tuple(rows), records, (foot,))


def _ratio(record: Record, setting: Setting) -> str:
    kind = measure_of(record["measure"])
    ratio, low, high = (record.get(f) for f in (kind.field, kind.low, kind.high))
    return setting.words.numbers.estimate(ratio, low, high, kind.ratio)


BUILDERS: dict[str, Builder] = {"controls": controls, "calibrated": calibrated}
