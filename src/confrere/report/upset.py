"""Overlap of cohorts as an UpSet plot (Lex et al., IEEE Trans Vis Comput Graph 2014;20:1983): a bar for every
combination of cohorts, under it dots for the cohorts that it is made of. Combinations withheld have no bar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from confrere.report.schema import Record
from confrere.report.vega import INK, PALETTE, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

STEP, HIGH, ROW = 34, 220, 26  # px of a bar with its gap, of the bars, of a cohort
MOST = 20  # bars
NAMES = 260  # px for the name of a cohort
FAINT = "#d0d0d0"


class Upset(NamedTuple):
    """Cohorts with their sizes as printed, and people of combinations: places of cohorts, people."""

    cohorts: list[str]
    bars: list[tuple[tuple[int, ...], float]]


def upset(overlap: list[Record], totals: list[Record], words: Words) -> Upset:
    """The panel of the two tables; whoever is in no cohort has no bar."""
    names = [record["cohort"] for record in totals]
    sizes = ["*" if r["n"] is None else words.numbers.count(r["n"]) for r in totals]
    told = [r for r in overlap if r["n"] and r["cohorts"]]
    bars = [(tuple(j for j, name in enumerate(names) if r[name]), float(r["n"])) for r in told]
    return Upset([f"{name} ({size})" for name, size in zip(names, sizes, strict=True)], bars[:MOST])


def said(panel: Upset, words: Words) -> str:
    """The plot in words."""
    told = (f"{' + '.join(panel.cohorts[j] for j in held)}: {words.numbers.count(n)}" for held, n in panel.bars)
    return words("Bars. {bars}.", bars="; ".join(told))


def draw_upset(panel: Upset, words: Words) -> tuple[alt.VConcatChart, Datasets]:
    """Bars over the matrix of cohorts."""
    import altair as alt

    places = list(range(len(panel.bars)))
    rows: Datasets = {
        "bars": [{"place": i, "n": n, "text": words.numbers.count(n)} for i, (_, n) in enumerate(panel.bars)],
        "dots": [{"place": i, "cohort": name, "held": j in held} for i, (held, _) in enumerate(panel.bars)
                 for j, name in enumerate(panel.cohorts)],
        "links": [{"place": i, "from": panel.cohorts[held[0]], "to": panel.cohorts[held[-1]]}
                  for i, (held, _) in enumerate(panel.bars) if len(held) > 1],
    }  # fmt: skip
    x = alt.X("place:O", axis=None, scale=alt.Scale(domain=places, paddingInner=0.35, paddingOuter=0.2))
    wide = STEP * len(places)
    axis = alt.Axis(title=words("People"), tickCount=5, format=",.0f", titlePadding=14)
    bars = rows_of("bars").mark_bar(color=PALETTE[0]).encode(x=x, y=alt.Y("n:Q", axis=axis))
    numbers = rows_of("bars").mark_text(dy=-8, fontSize=11).encode(x=x, y="n:Q", text="text:N")
    cohorts = alt.Axis(title=None, labelLimit=NAMES, domain=False, ticks=False, labelPadding=10)
    y = alt.Y("cohort:N", sort=panel.cohorts, scale=alt.Scale(domain=panel.cohorts), axis=cohorts)
    shade = alt.condition("datum.held", alt.value(INK), alt.value(FAINT))
    dots = rows_of("dots").mark_circle(size=110, opacity=1).encode(x=x, y=y, color=shade)
    links = rows_of("links").mark_rule(strokeWidth=2.5, color=INK)
    matrix = [dots, links.encode(x=x, y=alt.Y("from:N", sort=panel.cohorts), y2="to:N")] if rows["links"] else [dots]
    top = alt.layer(bars, numbers, width=wide, height=HIGH)
    under = alt.layer(*matrix, width=wide, height=ROW * len(panel.cohorts))
    return alt.vconcat(top, under, spacing=8), {name: values for name, values in rows.items() if values}
