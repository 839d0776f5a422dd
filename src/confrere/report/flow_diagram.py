"""Who was analysed, as a flow diagram: boxes from the top, and beside each arrow who left there and why. In the manner
of CONSORT (Hopewell et al., BMJ 2025;389:e081123), from an analysis' account of people left out, or from a funnel.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from confrere.report.notes import told
from confrere.report.numerals import FIRM
from confrere.report.schema import Record
from confrere.report.vega import INK, Datasets, rows_of
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

MAIN, SIDE, GAP = 270, 290, 36  # px of a box, of one beside, and between the two columns
LINE, AIR, DOWN = 17, 9, 26  # px of a line of text, above and under it, of an arrow
LETTER = 6.6  # px of a letter, on average
HANGING, INDENT = "\t", 12  # what marks a line that hangs; px


class Box(NamedTuple):
    """A box, what leaves before the next one, if anything."""

    lines: list[str]
    out: list[str]


class Diagram(NamedTuple):
    """The boxes from the top."""

    boxes: list[Box]


def of_attrition(records: list[Record], words: Words) -> Diagram | None:
    """Records read, those left out by reason beside the arrow, people analysed. None where nobody is left out."""
    out = sorted((r for r in records if r["step"] == "left out"), key=lambda r: -(r["n"] or 0))
    ends = [r for r in records if r["step"] != "left out"]
    if not out or len(ends) != 2:
        return None
    reasons = [f"{_reason(r['reason'], words)} ({_n(r, words)})" for r in out]
    boxes = [Box(_lines(f"{words.title(r['step'])} ({_n(r, words)})", MAIN), []) for r in ends]
    beside = [line for reason in reasons for line in _lines(reason, SIDE, hang=True)]
    return Diagram([boxes[0]._replace(out=[f"{words.title('left out')}{words.colon}".rstrip(), *beside]), boxes[1]])


def of_funnel(records: list[Record], words: Words) -> Diagram | None:
    """A box for every step, and beside the arrow to it how many fewer they are, where both are told."""
    if len(records) < 2:
        return None
    boxes = []
    for at, r in enumerate(records):
        name = r["criterion"] or words.title(r["step"])
        after = records[at + 1] if at + 1 < len(records) else None
        out = []
        if after is not None and r["n"] is not None and after["n"] is not None and after["n"] < r["n"]:
            out = [words("{n} fewer", n=words.numbers.count(r["n"] - after["n"]))]
        boxes.append(Box(_lines(f"{name} ({_n(r, words)})", MAIN), out))
    return Diagram(boxes)


def _n(record: Record, words: Words) -> str:
    return FIRM.join(("n", "=", "*" if record["n"] is None else words.numbers.count(record["n"])))


def _reason(reason: str, words: Words) -> str:
    """A reason in the language of the page; of a missing column its name stays."""
    column = reason.removeprefix("missing ")
    return words("missing {column}", column=column) if column != reason else told(reason, words).text


def _lines(text: str, wide: int, *, hang: bool = False) -> list[str]:
    """A text in lines that fit a box; what hangs is indented from the second on."""
    letters = int((wide - 2 * AIR) / LETTER)
    made = textwrap.wrap(text, letters - 2 * hang, break_long_words=True) or [""]
    return [made[0], *(HANGING + line if hang else line for line in made[1:])]


def said(panel: Diagram, words: Words) -> str:
    """The boxes in words."""
    told_ = (" ".join(box.lines) + (f" [{' '.join(box.out)}]" if box.out else "") for box in panel.boxes)
    return words("Boxes from the top. {boxes}.", boxes="; ".join(told_).replace(HANGING, ""))


def draw_flow(panel: Diagram, words: Words) -> tuple[alt.HConcatChart, Datasets]:
    """Boxes, their text, and arrows."""
    import altair as alt

    boxes, texts, arrows = _placed(panel)
    high = max(box["y2"] for box in boxes) + 2
    wide = MAIN + (GAP + SIDE if any(box.out for box in panel.boxes) else 0) + 2
    data: Datasets = {"boxes": boxes, "texts": texts, "arrows": arrows}

    def at(field: str, channel: Any) -> Any:
        return channel(f"{field}:Q", scale=None, axis=None)

    frame = rows_of("boxes").mark_rect(fill=None, stroke=INK, strokeWidth=1)
    lines = rows_of("arrows").mark_rule(strokeWidth=1, color=INK)
    down = rows_of("arrows").transform_filter("datum.down").mark_point(shape="triangle-down", filled=True, size=55)
    right = rows_of("arrows").transform_filter("!datum.down").mark_point(shape="triangle-right", filled=True, size=55)
    written = rows_of("texts").mark_text(align="left", baseline="middle", color=INK)
    x, y = at("x", alt.X), at("y", alt.Y)
    heads = {"x": at("x2", alt.X), "y": at("y2", alt.Y)}
    parts = [
        frame.encode(x=x, x2="x2:Q", y=y, y2="y2:Q"),
        lines.encode(x=x, x2="x2:Q", y=y, y2="y2:Q"),
        *(head.encode(**heads, color=alt.value(INK), opacity=alt.value(1)) for head in (down, right)),
        written.encode(x=x, y=y, text="text:N"),
    ]
    return alt.hconcat(alt.layer(*parts, width=wide, height=high)), data


def _placed(panel: Diagram) -> tuple[list[Record], list[Record], list[Record]]:
    """Where boxes, lines of text and arrows stand, in px from the top left."""
    boxes: list[Record] = []
    texts: list[Record] = []
    arrows: list[Record] = []
    top, middle = 1.0, 1 + MAIN / 2

    def boxed(lines: list[str], left: float, upper: float, wide: int) -> float:
        low = upper + 2 * AIR + LINE * len(lines)
        boxes.append({"x": left, "x2": left + wide, "y": upper, "y2": low})
        for i, line in enumerate(lines):
            start = left + AIR + (INDENT if line.startswith(HANGING) else 0)
            texts.append({"x": start, "y": upper + AIR + LINE * (i + 0.5), "text": line.removeprefix(HANGING)})
        return low

    for place, box in enumerate(panel.boxes):
        low = boxed(box.lines, 1.0, top, MAIN)
        if place + 1 == len(panel.boxes):
            break
        beside = 2 * AIR + LINE * len(box.out) if box.out else 0.0
        top = low + max(DOWN, beside + DOWN if box.out else DOWN)
        arrows.append({"x": middle, "x2": middle, "y": low, "y2": top - 4, "down": True})
        if box.out:
            upper = low + (top - low - beside) / 2
            boxed(box.out, 1.0 + MAIN + GAP, upper, SIDE)
            at = upper + beside / 2
            arrows.append({"x": middle, "x2": MAIN + GAP - 3.0, "y": at, "y2": at, "down": False})
    return boxes, texts, arrows
