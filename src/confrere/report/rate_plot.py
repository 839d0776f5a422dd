"""Rates, or shares, with their limits: by calendar year, by age and by sex beside each other, on one axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from confrere.report.axes import nice_step
from confrere.report.schema import Record
from confrere.report.vega import PALETTE, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

    from confrere.report.vega import Layers

STEP, HIGH = 30, 290  # px of a point with its gap, of the axis
LETTER = 9  # px of a letter under the axis
TURNED = 9  # letters from which on labels are turned
PER = 1000  # person-years
BLOCKS = ("year", "age", "sex", "state")


class Rates(NamedTuple):
    """Blocks of points under heads; `share` says that they are shares of people."""

    blocks: list[tuple[str, list[Record]]]
    title: str
    share: bool


def rates(records: list[Record], words: Words, level: float) -> Rates | None:
    """The panel of the tables `rates` and `prevalence`; None without anything to draw."""
    told = [r for r in records if r.get("estimate") is not None and not r.get("stratum")]
    share = bool(told) and "people" in told[0]
    blocks = [(by, [r for r in told if _by(r) == by]) for by in BLOCKS]
    found = [(by, rows) for by, rows in blocks if rows]
    measure = words("Prevalence") if share else words("Events per {per} person-years", per=words.numbers.count(PER))
    return Rates(found, f"{measure} ({words.interval(level)})", share) if found else None


def _by(record: Record) -> str:
    return str(record.get("by", "state"))


def said(panel: Rates, words: Words) -> str:
    """The points in words."""
    told = (f"{_level(r, words)} {_value(r, panel, words)}" for _, rows in panel.blocks for r in rows)
    return words("Points with intervals. {points}.", points="; ".join(told))


def _level(record: Record, words: Words) -> str:
    return words.label(str(record.get("level", record.get("state")))).replace("-", "–")


def _value(record: Record, panel: Rates, words: Words) -> str:
    if panel.share:
        return words.numbers.percent(record["estimate"])
    return words.numbers.significant(PER * record["estimate"])


def draw_rates(panel: Rates, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The blocks from the left, the axis at the first."""
    import altair as alt

    times = 1 if panel.share else PER
    top = max(times * r["conf_high"] for _, rows in panel.blocks for r in rows)
    step = nice_step(top, 6)
    ends = alt.Scale(domain=[0, step * -(-top // step)], nice=False)
    data: Datasets = {}
    charts = []
    for place, (by, rows) in enumerate(panel.blocks):
        data[f"points_{by}"] = [
            {"level": _level(r, words)} | {f: times * r[f] for f in ("estimate", "conf_low", "conf_high")} for r in rows
        ]
        charts.append(_block(by, data[f"points_{by}"], (panel, place == 0, ends), words))
    return alt.hconcat(*charts, spacing=26), data


def _block(by: str, rows: list[Record], frame: tuple[Rates, bool, alt.Scale], words: Words) -> Layers:
    import altair as alt

    panel, first, ends = frame
    levels = [row["level"] for row in rows]
    turned = max(map(len, levels)) > TURNED or (by == "year" and len(levels) > 3)
    turn = {"labelAngle": -45, "labelAlign": "right"} if turned else {"labelAngle": 0}
    x = alt.X("level:N", sort=levels, axis=alt.Axis(title=words.title(by), labelLimit=120, **turn),
              scale=alt.Scale(domain=levels, paddingOuter=0.3))  # fmt: skip
    axis = alt.Axis(title=panel.title, tickCount=6, format="~%" if panel.share else ",.3~g") if first else None
    y = alt.Y("estimate:Q", scale=ends, axis=axis)
    held = rows_of(f"points_{by}")
    limits = held.mark_rule(strokeWidth=1.4, color=PALETTE[0])
    parts = [limits.encode(x=x, y=alt.Y("conf_low:Q", scale=ends, axis=axis), y2="conf_high:Q")]
    if by == "year" and len(levels) > 1:
        parts.append(held.mark_line(strokeWidth=1, opacity=0.5, color=PALETTE[0]).encode(x=x, y=y))
    parts.append(held.mark_point(shape="square", filled=True, size=45, opacity=1, color=PALETTE[0]).encode(x=x, y=y))
    step = STEP if turned else max(STEP, LETTER * (1 + max(map(len, levels))))
    return alt.layer(*parts, width=max(60, step * len(levels)), height=HIGH)
