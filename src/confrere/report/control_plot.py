"""What negative controls say: their ratios by standard error, and where an estimate stands out from chance and errors.

Within the dashed lines an estimate is no wonder by chance alone, within the solid ones not by chance and the systematic
errors that the controls show. As R EmpiricalCalibration's plotCalibrationEffect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from confrere.report.axes import ratio_ticks, ticks
from confrere.report.effect_forest import RATIOS
from confrere.report.schema import Record
from confrere.report.vega import INK, MUTED, PALETTE, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

WIDE, HIGH = 460, 300  # px
Z = 1.959963984540054
POINTS = 40  # of a line


class Funnel(NamedTuple):
    """Log ratios and standard errors (name, estimate, error) of negative controls and of the effect; the errors."""

    measure: str
    controls: list[tuple[str, float, float]]
    effect: tuple[float, float]
    mean: float
    sd: float
    time: float | None


def funnels(tables: Mapping[str, list[Record]]) -> Iterator[Funnel]:
    """A panel for each calibrated ratio."""
    for made in tables.get("calibrated", []):
        same = [
            [r for r in tables.get(name, []) if all(r.get(f) == made.get(f) for f in ("measure", "time"))]
            for name in ("controls", "effects")
        ]
        controls = [r for r in same[0] if r["truth"] == 1 and r.get("cause") in (None, made.get("cause"))]
        effects = [r for r in same[1] if r.get("cause") == made.get("cause")]
        if len(effects) == 1 and controls and made["measure"] in RATIOS:
            points = [(str(r["outcome"]), r["estimate"], r["std_error"]) for r in controls]
            effect = effects[0]["estimate"], effects[0]["std_error"]
            yield Funnel(made["measure"], points, effect, made["error_mean"], made["error_sd"], made.get("time"))


def said(panel: Funnel, words: Words) -> str:
    """The points in words."""
    forms = words.numbers
    points = "; ".join(f"{name} {forms.fixed(math.exp(e))} ({forms.fixed(se)})" for name, e, se in panel.controls)
    effect = f"{forms.fixed(math.exp(panel.effect[0]))} ({forms.fixed(panel.effect[1])})"
    text = "Points of ratio (standard error of its logarithm). Negative controls: {points}. The effect: {effect}."
    return words(text, points=points, effect=effect)


def draw_funnel(panel: Funnel, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """The chart of a panel, and its rows."""
    import altair as alt

    all_points = [*panel.controls, ("", *panel.effect)]
    top = 1.15 * max(se for _, _, se in all_points)
    far = max(Z * top, *(abs(e) + 0.1 for _, e, _ in all_points), abs(panel.mean) + Z * math.hypot(panel.sd, top / 2))
    kinds = {"controls": words("Negative controls"), "effect": words("The effect in question")}
    lines = {"chance": words("P = 0.05 by chance alone"), "errors": words("P = 0.05, calibrated")}
    ends = [math.exp(-far), math.exp(far)]
    x = alt.X("ratio:Q", scale=alt.Scale(type="log", domain=ends, nice=False), title=words(RATIOS[panel.measure][0]),
              axis=alt.Axis(values=ratio_ticks(*ends), format=",.4~g"))  # fmt: skip
    y = alt.Y("error:Q", scale=alt.Scale(domain=[0, top], nice=False), axis=alt.Axis(values=ticks(0, top, 5)),
              title=words("Standard error of the log ratio"))  # fmt: skip
    shape = alt.Scale(domain=list(kinds.values()), range=["circle", "diamond"])
    hue = alt.Scale(domain=list(kinds.values()), range=[PALETTE[0], PALETTE[1]])
    dash = alt.Scale(domain=list(lines.values()), range=[[2, 3], [1, 0]])
    below = alt.Legend(title=None, orient="bottom", labelLimit=300, labelFontSize=12, columns=2)
    line = rows_of("lines").mark_line(color=INK, strokeWidth=1.2, clip=True)
    drawn = line.encode(x=x, y=y, detail="side:N", order="error:Q",
                        strokeDash=alt.StrokeDash("line:N", scale=dash, legend=below))  # fmt: skip
    look = {
        "color": alt.Color("kind:N", scale=hue, legend=below),
        "shape": alt.Shape("kind:N", scale=shape, legend=below),
    }
    marks = rows_of("points").mark_point(filled=True, size=70, opacity=0.9).encode(x=x, y=y, **look)
    none = rows_of("none").mark_rule(color=MUTED, opacity=0.6).encode(x=x)
    chart = alt.layer(none, drawn, marks).properties(width=WIDE, height=HIGH)
    rows = [{"kind": kinds["effect" if place == len(panel.controls) else "controls"], "ratio": math.exp(e), "error": se}
            for place, (_, e, se) in enumerate(all_points)]  # fmt: skip
    return alt.hconcat(chart), {"points": rows, "lines": _lines(panel, top, lines), "none": [{"ratio": 1.0}]}


def _lines(panel: Funnel, top: float, names: Mapping[str, str]) -> list[Record]:
    """Where P is 0.05, on either side, by chance alone and among the errors."""
    rows = []
    for name, mean, sd in (("chance", 0.0, 0.0), ("errors", panel.mean, panel.sd)):
        for sign in (-1, 1):
            for i in range(POINTS + 1):
                at = top * i / POINTS
                ratio = math.exp(mean + sign * Z * math.hypot(sd, at))
                rows.append({"line": names[name], "side": f"{name} {sign}", "ratio": ratio, "error": at})
    return rows
