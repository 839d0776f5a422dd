"""The lines of a terminal as HTML for a notebook: titles, sentences and tables, in the colours of the page around."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from confrere.console.show import Line

# no colour of its own but for warnings, so that it reads on light and on dark pages
STYLE = (
    "<style>.confrere{line-height:1.4}.confrere p{margin:.2em 0}.confrere .title{font-weight:600;margin-top:.8em}"
    ".confrere .note{opacity:.7}.confrere .warning{border-left:3px solid #c98a00;padding-left:.6em}"
    ".confrere table{border-collapse:collapse;margin:.3em 0 .6em;font:inherit;font-variant-numeric:tabular-nums}"
    ".confrere tr{background:none!important}.confrere th{font-weight:600;border-bottom:1px solid currentColor}"
    ".confrere th,.confrere td{padding:.15em .9em .15em 0;white-space:nowrap}"
    ".confrere th:last-child,.confrere td:last-child{padding-right:0}"
    ".confrere tbody tr+tr td{border-top:1px solid rgba(128,128,128,.25)}</style>"
)
KINDS = {"bold": "title", "italic": "title", "yellow": "warning", "dim": "note"}


def html(lines: Iterable[Line]) -> str:
    """A block of HTML of these lines, everything escaped."""
    return f'{STYLE}<div class="confrere">{"".join(_line(line) for line in lines)}</div>'


def _line(line: Line) -> str:
    if isinstance(line, Table):
        return _table(line)
    text = Text.from_markup(line) if isinstance(line, str) else line
    kind = KINDS.get(str(text.style), "")
    words = escape(text.plain.strip())
    return f'<p class="{kind}">{words}</p>' if kind else f"<p>{words}</p>"


def _table(table: Table) -> str:
    sides = ["right" if c.justify == "right" else "left" for c in table.columns]
    heads = [_plain(c.header) for c in table.columns]
    rows = zip(*([_plain(cell) for cell in c.cells] for c in table.columns), strict=True)
    head = _row("th", heads, sides)
    body = "".join(_row("td", row, sides) for row in rows)
    caption = f'<p class="note">{escape(_plain(table.caption))}</p>' if table.caption else ""
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>{caption}"


def _row(tag: str, cells: Iterable[str], sides: list[str]) -> str:
    made = (f'<{tag} style="text-align:{side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True))
    return f"<tr>{''.join(made)}</tr>"


def _plain(cell: object) -> str:
    """A cell's text without its markup."""
    return Text.from_markup(cell).plain if isinstance(cell, str) else str(cell)
