"""The look of every figure, and how an Altair chart becomes a Vega-Lite specification and a still picture.

A specification holds its data, fonts, colours and the marks of its language, and needs nothing else. vl-convert
draws it without a browser: it carries Vega and Liberation Sans, whose letters are as wide as those of Arial and
Helvetica, so that a figure is the same on every machine. Colours stand in the picture as plain attributes, which any
viewer and word processor reads; the page's style sheet finds them there by their value, and gives each its shade for
dark screens. Series differ by colour (Okabe and Ito's palette, safe for the colour-blind, without the yellow that
paper swallows; two others darker, to be read as text) and by dash.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from confrere.report.numerals import THIN
from confrere.report.schema import Record
from confrere.report.words import Words

if TYPE_CHECKING:
    import altair as alt

    Layers = alt.LayerChart | alt.FacetChart
    Chart = alt.VConcatChart | alt.HConcatChart | alt.LayerChart | alt.FacetChart

Spec = dict[str, Any]  # a Vega-Lite specification
Datasets = dict[str, list[Record]]  # the rows that its views draw, by name

INK, MUTED, PAPER = "#1a1a1a", "#595959", "#ffffff"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b87d00", "#2b8fcb", "#4d4d4d")
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [12, 4], [4, 2])
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
SIZE = 13  # of the text, in px
NARROW = 544  # px: a wider picture shrinks no further, and is moved sideways; a narrower one is not blown up
VERSION = "6.4"  # of Vega-Lite, as altair writes it

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SVG = "http://www.w3.org/2000/svg"
_FOR_SCREENS = {"class", "role", "aria-hidden", "aria-label", "aria-roledescription", "pointer-events"}
_MARKS = {  # d3-format's names for how a language writes numbers
    "en": {"decimal": ".", "thousands": ",", "grouping": [3], "currency": ["", ""], "minus": "−"},
    "fr": {
        "decimal": ",", "thousands": THIN, "grouping": [3], "currency": ["", ""], "minus": "−", "percent": f"{THIN}%",
    },
}  # fmt: skip


def colours(count: int) -> list[str]:
    """A colour for each of `count` series."""
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


def dashes(count: int) -> list[list[int]]:
    """A dash for each of `count` series: none for the first."""
    return [list(DASHES[i % len(DASHES)]) for i in range(count)]


def plain(value: Any) -> Any:
    """The same data without the characters that XML cannot hold."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return _NOT_XML.sub("\ufffd", value) if isinstance(value, str) else value


def rows_of(name: str) -> alt.Chart:
    """A chart over the rows of this name. Rows join it at the end, since altair copies a chart with each step."""
    import altair as alt

    return alt.Chart(alt.NamedData(name))


def finished(chart: Chart, rows: Datasets, title: str, words: Words) -> Chart:
    """The chart with its rows, in the look of the house: thin axes, no grid, numbers as the language writes them."""
    import altair as alt

    axis = {
        "domainColor": INK, "domainWidth": 0.8, "grid": False, "labelColor": INK, "labelFontSize": SIZE,
        "labelFlush": False, "labelOverlap": False, "labelPadding": 4, "tickColor": INK, "tickSize": 5,
        "tickWidth": 0.8, "titleColor": INK, "titleFontSize": SIZE, "titleFontWeight": "normal", "titlePadding": 10,
    }  # fmt: skip
    look: dict[str, Any] = {
        "font": FONT, "axis": axis, "view": {"stroke": None}, "text": {"color": INK, "fontSize": SIZE},
        "title": {"color": INK, "fontSize": SIZE}, "locale": {"number": _MARKS[words.lang]},
    }  # fmt: skip
    return chart.properties(
        description=title, background=PAPER, padding=8, config=alt.Config(**look), datasets=plain(rows)
    )


def spec(chart: Chart) -> Spec:
    """The specification as plain data. It is ours and its kinds are tested, so that it is not validated each time."""
    made: Spec = plain(chart.to_dict(validate=False))
    return made


def svg(spec: Spec, key: str, title: str, description: str) -> str:
    """The picture: an SVG element with a name for those who cannot see it. `key` makes its ids distinct in a page."""
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(spec, vl_version=VERSION, allowed_base_urls=[])  # asks no network
    ET.register_namespace("", _SVG)
    root = ET.fromstring(drawn)
    _bared(root)
    for place, (name, text) in enumerate((("title", title), ("desc", description))):
        said = ET.Element(f"{{{_SVG}}}{name}", {"id": f"{key}-{name}"})
        said.text = plain(text)
        root.insert(place, said)
    root.attrib |= {"role": "img", "aria-labelledby": f"{key}-title {key}-desc"}
    if float(root.get("width", "0")) < NARROW:  # by a class: pages let no style stand in their text
        root.set("class", "narrow")
    return ET.tostring(root, encoding="unicode")


def _bared(element: ET.Element) -> None:
    """Leave out what Vega writes for moving pictures: marks nobody sees, a role for each mark."""
    for child in list(element):
        if "background" in child.get("class", "") or "foreground" in child.get("class", ""):
            element.remove(child)
        else:
            _bared(child)
            if child.tag == f"{{{_SVG}}}g" and not len(child):
                element.remove(child)
    for name in _FOR_SCREENS & element.attrib.keys():
        del element.attrib[name]


def json_bytes(spec: Spec) -> bytes:
    """The specification as a file."""
    return (json.dumps(spec, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()
