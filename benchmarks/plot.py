"""The figure of growth: seconds, bytes and memory against people, terms and hospitals, on logarithmic axes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROWS = (
    ("seconds", "Seconds", 1.0),
    ("bytes", "kB that leave one hospital", 1e-3),
    ("memory", "Data and work, MB", 1e-6),
)
AXES = {"people": "People", "terms": "Terms", "hospitals": "Hospitals"}
NAMES = {"cox": "Cox regression", "logistic": "Logistic regression"}
COLOURS = ("#0072B2", "#D55E00")  # of Okabe and Ito: told apart by everybody
INK, FAINT = "#333333", "#E6E6E6"
CONFIG: dict[str, Any] = {
    "font": "Helvetica, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK, "titleColor": INK, "tickColor": INK, "domainColor": INK, "gridColor": FAINT,
        "labelFontSize": 10, "titleFontSize": 11, "titleFontWeight": "normal", "titlePadding": 8, "tickSize": 4,
    },
    "legend": {"labelFontSize": 11, "labelColor": INK, "title": None, "orient": "top", "symbolSize": 60},
}  # fmt: skip


def draw(growth: dict[str, Any], path: Path) -> bool:
    """Write the SVG. False where Altair or its converter is not installed."""
    if find_spec("altair") is None or find_spec("vl_convert") is None:
        return False
    import altair as alt

    panels = [_panel(alt, growth, (axis, *row), (axis == "people", row is ROWS[-1])) for row in ROWS for axis in AXES]
    chart = alt.concat(*panels, columns=len(AXES), align="all", bounds="flush", spacing=24, padding=10)
    chart.configure(**CONFIG).save(str(path), format=path.suffix[1:], scale_factor=2)
    return True


def _panel(alt: Any, growth: dict[str, Any], what: tuple[str, str, str, float], edge: tuple[bool, bool]) -> Any:
    """One small chart; titles stand at the left and at the foot of the figure only."""
    axis, measure, title, unit = what
    left, foot = edge
    lines = [line for line in growth["lines"] if line["axis"] == axis]
    records = [
        {"size": size, "model": NAMES[line["task"]], **{k: unit * v for k, v in value[measure].items()}}
        for line in lines
        for size, value in zip(line["sizes"], line["values"], strict=True)
    ]
    sizes = sorted({r["size"] for r in records})
    fixed = ", ".join(f"{value:,} {name}" for name, value in lines[0]["at"].items())
    said = [AXES[axis], f"({fixed})"] if foot else None
    base = alt.Chart(alt.Data(values=records), width=170, height=120)
    x = alt.X("size:Q", scale=alt.Scale(type="log", nice=False, padding=8), title=said,
              axis=alt.Axis(values=sizes, format="~s", grid=False, labels=foot))  # fmt: skip
    colour = alt.Color("model:N", scale=alt.Scale(domain=list(NAMES.values()), range=list(COLOURS)))
    y = alt.Y("median:Q", title=title if left else None, scale=_scale(alt, growth, measure, unit),
              axis=alt.Axis(values=_ticks(growth, measure, unit), format="~g", labels=left))  # fmt: skip
    marks = base.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=colour)
    spread = base.mark_rule(strokeWidth=1.2).encode(x=x, y=alt.Y("min:Q"), y2="max:Q", color=colour)
    return alt.layer(marks, spread, base.mark_point(filled=True, size=38, opacity=1).encode(x=x, y=y, color=colour))


def _values(growth: dict[str, Any], measure: str, unit: float) -> list[float]:
    """All values of a row of panels, which have one scale."""
    values = [v for line in growth["lines"] for value in line["values"] for v in value[measure].values()]
    return [unit * v for v in values]


def _ticks(growth: dict[str, Any], measure: str, unit: float) -> list[float]:
    """1, 2 and 5 of each power of ten, from just below the least to just above the largest value."""
    values = _values(growth, measure, unit)
    steps = [digit * 10.0**power for power in range(-4, 8) for digit in (1, 2, 5)]
    below = max(s for s in steps if s <= min(values))
    above = min(s for s in steps if s >= max(values))
    return [s for s in steps if below <= s <= above]


def _scale(alt: Any, growth: dict[str, Any], measure: str, unit: float) -> Any:
    ticks = _ticks(growth, measure, unit)
    return alt.Scale(type="log", domain=[ticks[0], ticks[-1]], nice=False)
