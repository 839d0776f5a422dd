"""Findings on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from confrere.analyses.finding import Finding, Record

RATIOS = {"hazard_ratio": ("hazard ratio", "hr"), "odds_ratio": ("odds ratio", "or"), "rate_ratio": ("rate ratio", "rr")}
SHOWN = ("coefficients", "survival", "median", "test", "at_times", "effects")


def tables(name: str, finding: Finding, unit: str) -> Iterator[Table]:
    """The tables of a finding that are worth a look at once."""
    for kind in SHOWN:
        if records := finding.tables.get(kind):
            title = f"{name} ({finding.method}, n = {finding.n:,}{_events(finding)})"
            yield _coefficients(title, records) if kind == "coefficients" else _plain(f"{title}: {kind}, {unit}", records)


def _events(finding: Finding) -> str:
    return "" if finding.events is None else f", {finding.events:,} events"


def _coefficients(title: str, records: list[Record]) -> Table:
    """Terms with their ratios, or estimates, and 95 % limits."""
    table = Table(title=title, title_justify="left")
    ratio = next((r for r in RATIOS if r in records[0]), "")
    table.add_column("term")
    for column in (RATIOS[ratio][0] if ratio else "estimate", "95 % limits", "p"):
        table.add_column(column, justify="right")
    for r in records:
        short = RATIOS[ratio][1] if ratio else ""
        keys = (ratio, f"{short}_low", f"{short}_high") if ratio else ("estimate", "conf_low", "conf_high")
        estimate, low, high = (number(r[k]) for k in keys)
        table.add_row(r["term"], estimate, f"{low} to {high}", p_value(r["p_value"]))
    return table


def _plain(title: str, records: list[Record]) -> Table:
    """Records as they are."""
    table = Table(title=title, title_justify="left")
    columns = list(dict.fromkeys(k for r in records for k in r if k != "suppressed"))
    for column in columns:
        table.add_column(column.replace("_", " "), justify="left" if column in ("group", "test", "cause") else "right")
    for r in records[:40]:
        table.add_row(*(p_value(r[c]) if c == "p_value" else number(r.get(c)) for c in columns))
    return table


def number(value: Any) -> str:
    """Four significant digits; text as it is; a dash for what is withheld or does not exist."""
    if value is None:
        return "–"
    if isinstance(value, (int, str)):
        return f"{value:,}" if isinstance(value, int) else value
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def p_value(value: float | None) -> str:
    """A p-value as journals print it."""
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
