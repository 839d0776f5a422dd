"""Whether the arms can be compared: a histogram of the propensity, the treated upwards and the others downwards.

Bins are those that the hospitals merged until each held, in either arm, nobody or enough people, so that they are of
unequal width: what a bar covers is its share of the arm, and its height that share per 0.05 of the propensity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from confrere.report.axes import nice_step
from confrere.report.schema import Record
from confrere.report.vega import INK, PALETTE, PAPER, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

    pass

WIDE, HIGH = 500, 280  # px
PER = 0.05  # of the propensity: the width of a bin before any is merged
ARMS = {"treated": (1.0, PALETTE[1]), "untreated": (-1.0, PALETTE[0])}  # which way, which colour: that of the curves


class Bar(NamedTuple):
    """A bin of an arm: from, to, and the share of the arm per `PER`."""

    arm: str
    low: float
    high: float
    share: float


class Mirror(NamedTuple):
    """The bars, and how many people each arm has."""

    bars: list[Bar]
    people: dict[str, int]


def mirror(records: list[Record]) -> Mirror | None:
    """The panel of the table `overlap` of an effect; None of another table, or where an arm is not told."""
    told = [r for r in records if r.get("n") is not None and r.get("arm") in ARMS and "propensity_from" in r]
    people = {arm: sum(r["n"] for r in told if r["arm"] == arm) for arm in ARMS}
    if not all(people.values()):
        return None
    bars = [
        Bar(r["arm"], low, high, r["n"] / people[r["arm"]] * PER / (high - low))
        for r in told
        for low, high in [(r["propensity_from"], r["propensity_to"])]
    ]
    return Mirror(bars, people)


def said(panel: Mirror, words: Words) -> str:
    """Where each arm has most of its people, in words."""
    forms = words.numbers
    told = []
    for arm in ARMS:
        top = max((bar for bar in panel.bars if bar.arm == arm), key=lambda bar: bar.share)
        span = forms.interval(forms.fixed(top.low), forms.fixed(top.high))
        people = forms.count(panel.people[arm])
        told.append(words("{arm}: {n} people, most often at {span}", arm=words.title(arm), n=people, span=span))
    return words("Histogram of the propensity. {arms}.", arms="; ".join(told))


def draw_mirror(panel: Mirror, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The chart, and its rows."""
    import altair as alt

    rows = [
        {"arm": b.arm, "propensity_from": b.low, "propensity_to": b.high, "share": ARMS[b.arm][0] * b.share}
        for b in panel.bars
    ]
    top = max(b.share for b in panel.bars)
    step = nice_step(top, 3)
    count = int(1.1 * top / step)
    values = [step * i for i in range(-count, count + 1)]
    title = words("Share of the arm per {per} of propensity", per=words.numbers.fixed(PER))
    digits = 0 if step >= 0.01 else 1
    axis = alt.Axis(values=values, title=title, labelExpr=f"format(abs(datum.value), '.{digits}%')")
    across = alt.Axis(values=[i / 5 for i in range(6)], title=words("Propensity of treatment"), format=".1f")
    x = alt.X("propensity_from:Q", scale=alt.Scale(domain=[0, 1], nice=False), axis=across)
    y = alt.Y("share:Q", scale=alt.Scale(domain=[-1.1 * top, 1.1 * top], nice=False), axis=axis)
    colour = alt.Color("arm:N", legend=None, scale=alt.Scale(domain=list(ARMS), range=[c for _, c in ARMS.values()]))
    bars = rows_of("bars").mark_bar(stroke=PAPER, strokeWidth=0.6)
    zero = rows_of("zero").mark_rule(color=INK, strokeWidth=0.8).encode(y=alt.Y("at:Q"))
    letters = rows_of("names").mark_text(align="right", baseline="middle", fontWeight="bold")
    names = [
        {"arm": arm, "place": 12 if way > 0 else HIGH - 12,
         "text": words("{arm} ({n})", arm=words.title(arm), n=words.numbers.count(panel.people[arm]))}
        for arm, (way, _) in ARMS.items()
    ]  # fmt: skip
    parts = [
        bars.encode(x=x, x2="propensity_to:Q", y=y, y2=alt.datum(0), color=colour),
        zero,
        letters.encode(x=alt.value(WIDE - 4), y=alt.Y("place:Q", scale=None, axis=None), text="text:N", color=colour),
    ]
    return alt.hconcat(alt.layer(*parts, width=WIDE, height=HIGH)), {
        "bars": rows,
        "zero": [{"at": 0.0}],
        "names": names,
    }
