"""Findings and manifests on a terminal."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from confrere.analyses.finding import Finding, Record
from confrere.hospital.classes import CLASSES
from confrere.hospital.gate import Policy
from confrere.report.notes import told
from confrere.report.words import Words
from confrere.study.counted import counted, persons

if TYPE_CHECKING:
    from confrere.console.fit import Fit, Results
    from confrere.hospital.manifest import Entry, Manifest
    from confrere.study.file import Study

Line = str | Text | Table
T = TypeVar("T")
RATIOS = {
    "hazard_ratio": ("hazard ratio", "hr"),
    "odds_ratio": ("odds ratio", "or"),
    "rate_ratio": ("rate ratio", "rr"),
    "risk_ratio": ("risk ratio", "risk_ratio"),
}
SHOWN = (
    "coefficients", "survival", "median", "test", "at_times", "effects", "funnel", "rates", "ratios", "prevalence",
    "standardised", "totals", "pathways", "votes", "clusters", "components", "metrics", "left_out",
    "debiased",
    "interaction", "icer", "net_benefit",
)  # fmt: skip
WORDS = {
    "group",
    "test",
    "cause",
    "variable",
    "level",
    "step",
    "criterion",
    "by",
    "state",
    "stratum",
    "cohort",
    "standard",
    "measure",
    "metric",
    "sample",
    "contrast",
    "scale",
    "quadrant",
}
MEASURED = {  # what an effect is, told in three columns
    "estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high", "ratio", "ratio_low", "ratio_high",
    "suppressed",
}  # fmt: skip
LONGEST = 40  # records of a table on the terminal


# Findings -----------------------------------------------------------------------------------------------------


def findings(results: Results) -> Iterator[Line]:
    """What a reader wants first: who took part, and the main tables."""
    study = results.study
    yield Text(study.title, style="bold")
    yield escape(_people(results))
    yield (
        f"{counted(results.rounds, 'round')}; {results.bytes / 1000:,.0f} kB left each hospital, all of it masked; "
        f"{results.seconds:.1f} s"
    )
    for name, finding in results.findings.items():
        yield from tables(name, finding, study.time_unit)
    yield from _notes(results.findings, results.study.k)
    yield from _warnings(results.findings)
    yield from _checks(results)


def whole(results: Results) -> Iterator[Line]:
    """The same, and the analyses that have no result."""
    yield from findings(results)
    for name, error in results.errors.items():
        yield Text(f"\n{name} has no result: {error}", style="yellow")
        yield more(error.page)


def fit(found: Fit) -> Iterator[Line]:
    """One fit: its tables, who took part, and its warnings."""
    yield from tables(found.name, found.finding, found.results.study.time_unit)
    yield Text(_taking(found.hospitals, len(found.results.hospitals)), style="dim")
    yield from _notes({found.name: found.finding}, found.results.study.k)
    yield from _warnings({found.name: found.finding})


def more(page: str) -> Text:
    """Where the documentation says more, and how to read it offline."""
    return Text(f"-> {page} (confrere explain {page.partition('#')[2]})", style="dim")


def text(lines: Iterable[Line]) -> str:
    """Lines as plain text, 100 columns wide."""
    console = Console(width=100, color_system=None, force_terminal=False, force_jupyter=False, file=io.StringIO())
    with console.capture() as captured:
        for line in lines:
            console.print(line, highlight=False)
    return captured.get().strip("\n")


def _notes(found: Mapping[str, Finding], k: int) -> Iterator[Line]:
    """Every note once: how numbers were made, and how they are to be read."""
    for start, note, where in _once({name: finding.notes for name, finding in found.items()}):
        yield Text(f"{start}{where}{told(note, Words(), k).text}", style="dim")


def _warnings(found: Mapping[str, Finding]) -> Iterator[Line]:
    """Every warning once."""
    for start, caution, where in _once({name: finding.warnings for name, finding in found.items()}):
        yield Text(f"{start}{where}{caution.text}", style="yellow")
        yield more(caution.page)


def _once(said: Mapping[str, Sequence[T]]) -> Iterator[tuple[str, T, str]]:
    """What analyses say, each once: a new line before the first, and whose it is where there are several analyses."""
    about: dict[T, list[str]] = {}
    for name, things in said.items():
        for thing in things:
            about.setdefault(thing, []).append(name)
    for i, (thing, names) in enumerate(about.items()):
        yield "" if i else "\n", thing, f"{', '.join(names)}: " if len(said) > 1 and len(names) < len(said) else ""


def _checks(results: Results) -> Iterator[Line]:
    """What the output checks say: each one that did not pass, or that all did."""
    release = results.released
    open_ = [check for check in release["checks"] if check["verdict"] != "pass"]
    who = f"{release['state']} by {', '.join(release['by'])}" if release["by"] else release["state"]
    count = len(release["checks"])
    checks = counted(count, "output check")
    said = f"{len(open_)} of {checks} did not pass" if open_ else f"{checks} passed"
    yield Text(f"\n{said} ({who})", style="yellow" if open_ else "dim")
    for check in open_:
        where = f"{check['analysis']}, " if check["analysis"] else ""
        yield Text(f"{where}{check['check']} ({check['verdict']}): {check['reason']}", style="yellow")


def _taking(hospitals: int, asked: int) -> str:
    return counted(hospitals, "hospital") if hospitals == asked else f"{hospitals} of {counted(asked, 'hospital')}"


def _people(results: Results) -> str:
    """People and hospitals, and how many of these had enough people to take part."""
    people = max((f.n for f in results.findings.values()), default=0)
    taking = max((f.hospitals for f in results.findings.values()), default=0)
    total = len(results.hospitals)
    if not results.findings:
        return f"{total} hospitals were asked, and no analysis has a result"
    return f"{persons(people)} in {_taking(taking, total)}"


def tables(name: str, finding: Finding, unit: str) -> Iterator[Line]:
    """The tables of a finding that are worth a look at once, each after its title."""
    events = "" if finding.events is None else f", {counted(finding.events, 'event')}"
    method = "" if name == finding.method else f"{finding.method}, "
    of = f"of cohort {finding.facts['cohort']}, " if "cohort" in finding.facts else ""
    title = f"\n{name} ({method}{of}n = {finding.n:,}{events})"
    if rows := finding.tables.get("table1"):
        yield Text(title, style="italic")
        yield _table_one(rows)
    for kind in SHOWN:
        if records := finding.tables.get(kind):
            coefficients = kind in ("coefficients", "debiased")
            timed = f", {unit}" if kind in ("survival", "median", "at_times") else ""
            named = title if kind == "coefficients" else f"{title}: {kind.replace('_', ' ')}{timed}"
            yield Text(named, style="italic")
            coarse = str(finding.facts.get("grid", "")).startswith("ladder")
            model = str(finding.facts.get("model") or getattr(finding.analysis, "model", ""))
            if coefficients:
                yield _coefficients(records, model)
            else:
                yield (
                    _effects(records)
                    if kind in ("effects", "metrics", "left_out", "interaction")
                    else _plain(records, coarse)
                )
            if coarse and any(_is_estimated(c, r) for r in records for c in r):
                yield Text("≈ Numbers at risk between the edges of cells are estimated.", style="dim")
    if left := _left_out(finding):
        yield Text(left, style="dim")


def _left_out(finding: Finding) -> str:
    """Who was left out of an analysis and why, in a line."""
    rows = [r for r in finding.tables.get("attrition", []) if r["step"] == "left out"]
    shown = [f"{r['reason']} ({'too few to show' if r['n'] is None else number(r['n'])})" for r in rows]
    return f"left out: {', '.join(shown)}" if shown else ""


def _coefficients(records: list[Record], model: str) -> Table:
    """Terms with their ratios, or estimates, and 95 % limits."""
    table = Table()
    ratio = next((r for r in RATIOS if r in records[0]), "")
    table.add_column("term")
    named = RATIOS[ratio][0] if ratio else "estimate"
    if model == "fine-gray" and ratio == "hazard_ratio":
        named = f"subdistribution {named}"
    for column in (named, "95 % limits", "p"):
        table.add_column(column, justify="right")
    for r in records:
        short = RATIOS[ratio][1] if ratio else ""
        keys = (ratio, f"{short}_low", f"{short}_high") if ratio else ("estimate", "conf_low", "conf_high")
        estimate, low, high = (number(r[k]) for k in keys)
        limits = f"{low} to {high}" if r[keys[1]] is not None else low  # a shrunk coefficient has none
        table.add_row(escape(r["term"]), estimate, limits, p_value(r["p_value"]))
    return table


def _effects(records: list[Record]) -> Table:
    """Effects: what is compared where, the ratio or the difference, 95 % limits."""
    table = Table()
    told = dict.fromkeys(k for r in records for k in r if r[k] not in (None, ""))
    places, tested = [c for c in told if c not in MEASURED], "p_value" in told
    for column in places:
        table.add_column(column.replace("_", " "), justify="left" if column in WORDS else "right")
    for column in ("estimate", "95 % limits", *(["p"] if tested else [])):
        table.add_column(column, justify="right")
    for r in records:
        ratio = r.get("ratio") is not None
        keys = ("ratio", "ratio_low", "ratio_high") if ratio else ("estimate", "conf_low", "conf_high")
        estimate, low, high = (number(r.get(k)) for k in keys)
        limits = low if r.get(keys[1]) is None else f"{low} to {high}"
        cells = [number(r[c]) if c in r else "" for c in places]
        p = [p_value(r.get("p_value"))] if tested else []
        table.add_row(*(escape(cell) for cell in cells), estimate, limits, *p)
    return table


def _is_estimated(column: str, r: Record) -> bool:
    """Whether a number of a finding on cells of time is a count that may fall between their edges: not at time 0."""
    return column in ("at_risk", "censored") and bool(r.get("time")) and r[column] is not None


def _plain(records: list[Record], coarse: bool) -> Table:
    """Records as they are; on cells of time (`coarse`), counts between their edges as estimates."""
    table = Table()
    columns = list(dict.fromkeys(k for r in records for k in r if k != "suppressed"))
    for column in columns:
        table.add_column(column.replace("_", " "), justify="left" if column in WORDS else "right")
    for r in records[:LONGEST]:
        cells = [p_value(r.get(c)) if c == "p_value" else number(r.get(c)) for c in columns]
        if coarse:
            cells = [f"≈ {x}" if _is_estimated(c, r) else x for c, x in zip(columns, cells, strict=True)]
        table.add_row(*(escape(cell) for cell in cells))
    if len(records) > LONGEST:
        table.caption = f"{counted(len(records) - LONGEST, 'more row')} in tables/"
    return table


def _table_one(records: list[Record]) -> Table:
    """Table 1 as journals print it: a row per variable or level, a column per group."""
    table = Table()
    table.add_column("mean (SD) or n")
    groups = list(dict.fromkeys(r["group"] for r in records))
    for group in groups:
        table.add_column("all" if group is None else escape(str(group)), justify="right")
    rows: dict[tuple[str, str | None], dict[Any, str]] = {}
    for r in records:
        rows.setdefault((r["variable"], r["level"]), {})[r["group"]] = _summary(r)
    for (variable, level), cells in itertools.islice(rows.items(), LONGEST):
        label = variable if level is None else f"{variable}: {level}"
        table.add_row(escape(label), *(cells.get(group, "–") for group in groups))
    return table


def _summary(r: Record) -> str:
    if r.get("percent") is not None and r["level"] is None and r["n"] is not None:  # 0 or 1 throughout
        return f"{round(r['n'] * r['percent'] / 100):,} of {r['n']:,}"
    if r.get("mean") is not None:
        return f"{number(r['mean'])} ({number(r.get('std_dev'))})"
    return number(r["n"]) if r["level"] is not None else "–"


def number(value: Any) -> str:
    """Four significant digits; text as it is; a dash for what is withheld or does not exist."""
    if value is None:
        return "–"
    if isinstance(value, (int, str)):
        return f"{value:,}" if isinstance(value, int) else value
    return f"{value:.4g}" if abs(value) < 999.95 else f"{value:,.0f}"


def p_value(value: float | None) -> str:
    """A p-value as journals print it."""
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


# Manifests ----------------------------------------------------------------------------------------------------


def listed(study: Study, found: Manifest) -> Iterator[Line]:
    """A manifest as a steward reads it: by analysis and step, every array with its shape and how often."""
    yield Text(f"What may leave each hospital under {study.id}", style="bold")
    yield (
        "Every array leaves masked, and is only ever seen added to those of the other hospitals. Shapes and times are "
        "the most there can be."
    )
    yield f"Study {study.hash}"
    yield from _stated(study)
    groups = {s.name: s.group for s in study.analyses}
    for name, entries in itertools.groupby(found.entries, key=lambda e: e.analysis):
        asked = f"; asked of {', '.join(groups[name])} alone" if groups.get(name) else ""
        yield Text(f"\n{name}{asked}", style="bold")
        yield from _arrays(entries)
    for spec in study.analyses:
        if spec.name not in {e.analysis for e in found.entries} | {u.analysis for u in found.unreached}:
            yield f"\n{spec.name}: asks for nothing more; what the analyses above ask for is enough"
    for missed in found.unreached:
        yield Text(f"\n{missed.analysis}: not listed to its end", style="bold yellow")
        yield escape(f"Dummy people do not suit it: {missed.reason}")
        yield escape(f"It may also ask for: {', '.join(missed.steps) or 'nothing else'}")
    yield from _terms(study, found)


def _stated(study: Study) -> Iterator[Line]:
    """What a study says of itself: what it is for, on which basis, who reads it, until when."""
    yield escape(f"Purpose: {study.purpose}. Legal basis: {study.legal_basis or 'not stated'}.")
    until = f"Hospitals answer until {study.ends}." if study.ends else "No end date."
    yield escape(f"Read by: {', '.join(study.people) or 'not stated'}. {until}")


def _arrays(entries: Iterable[Entry]) -> Iterator[Line]:
    """The arrays of one analysis, by step: shape, how often, and bytes each time."""
    for (method, step), arrays in itertools.groupby(entries, key=lambda e: (e.method, e.step)):
        held = list(arrays)
        yield Text(f"  {method} {step}: ").append(held[0].does, style="italic")
        if held[0].kind == "keep":
            yield "    the rows stay in each hospital; nothing leaves"
            continue
        for e in held:
            shape = " x ".join(f"{d} {b}" for d, b in zip(e.dims, e.bounds, strict=True)) or "one number"
            shape = f"{shape}, blinded" if e.kind == "support" else shape
            times = {0: "until agreed", 1: "once"}.get(e.repeats, f"{e.repeats} times")
            yield f"    {e.name:<12} {shape:<46} {times:>12} {e.bytes:>12,} bytes"


def _terms(study: Study, found: Manifest) -> Iterator[Line]:
    """What a steward approves beside the arrays."""
    share = Policy().share
    yield (
        "\nA support counts the people behind cells, columns and pairs. The coordinator cannot read it: the hospitals "
        "judge it, and only the verdict goes on."
    )
    yield (
        f"If everything is asked as often as it may be, {found.numbers:,} numbers leave each hospital in "
        f"{counted(found.rounds, 'round')}."
    )
    yield f"The gate ends a run before it has answered more than {share:g} numbers per person and column."
    kind = "Columns" if study.omop is None else "OMOP tables"
    yield f"{kind} read ({len(found.columns)}): {escape(', '.join(found.columns))}."
    if not study.allow:
        yield "Disclosure classes: none."
    for name in study.allow:
        yield Text(f"Needs your word for {name}: {CLASSES[name]}.", style="yellow")
    if study.alone:
        yield Text(
            f"Names {', '.join(study.alone)}: with that member's consent, in its own rules, sums over its people alone "
            f"may leave, and be subtracted from the totals. Behind those of the others stand three hospitals as ever.",
            style="yellow",
        )
