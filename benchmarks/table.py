"""The Markdown of all parts, ready for the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.beside import SLOW
from benchmarks.machine import said
from benchmarks.plot import NAMES

NONE = "-"


def markdown(results: dict[str, Any]) -> str:
    """All tables of a run."""
    parts = (
        _head(results), _beside(results), _traffic(results["traffic"]), _published(results["published"]),
        _growth(results["growth"]), _rest(results),
    )  # fmt: skip
    return "\n\n".join(parts) + "\n"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _head(results: dict[str, Any]) -> str:
    people, machine = results["people"], results["machine"]
    r = machine["r"]
    peers = [said(name, machine) for name in ("lifelines", "scikit-survival", "statsmodels", "glum", "scikit-learn")]
    first = f"R {r['version']}, survival {r['survival']}, BLAS {r['blas']}" if r else "R (not installed)"
    return (
        f"{people['people']:,} synthetic people x {people['terms']} terms, {people['share_of_events']:.1%} events, "
        f"whole days to 3,650; {people['hospitals']} hospitals in one process, masks and gate on, reading included, "
        f"for Confrere, the pooled rows in memory for the others. Median (least to most) of {results['size']['times']} "
        f"runs (two of what takes over {SLOW:.0f} s), each in a fresh process. {machine['processor']}, "
        f"{machine['cores']} cores, {machine['date']}. Confrere {machine['packages']['confrere']}, numpy "
        f"{machine['packages']['numpy']}; {', '.join([first, *peers])}."
    )


def _beside(results: dict[str, Any]) -> str:
    head = ("fit", "wall, s", "CPU, s", "wall / ours", "memory, x data", "coefficients, SE", "SE, relative")
    titles = {"cox": "Cox, Efron, stratified by hospital", "logistic": "Logistic regression"}
    tables = []
    for task, title in titles.items():
        rows = [_fit(row) for row in results["beside"] if row["task"] == task]
        tables.append(f"**{title}**\n\n{grid(head, rows)}")
    foot = (
        "Memory: peak beyond what was there once the data were loaded, in units of the data. Coefficients: largest "
        "difference, in standard errors, from R's tight fit of the same model (eps = 1e-15, then two Newton steps); "
        "the others stop at their defaults. *One baseline* is one for all hospitals, not one per hospital; "
        "scikit-survival has no strata."
    )
    return "\n\n".join([*tables, foot])


def _fit(row: dict[str, Any]) -> list[str]:
    label = row["label"].replace("confrere, one baseline", "**Confrere**").replace("confrere", "**Confrere**")
    label += f" ({row['model']})" if row["model"] else ""
    if "missing" in row:
        return [label, row["missing"], *[NONE] * 5]
    wall = row["wall"]
    return [
        label, f"{three(wall['median'])} ({three(wall['min'])} to {three(wall['max'])})", three(row["cpu"]["median"]),
        f"{row['wall_over_ours']:.2f}" if "wall_over_ours" in row else NONE,
        NONE if row["more_over_data"] is None else f"{row['more_over_data']:.1f}",
        small(row["coef_error"]), small(row["se_error"]),
    ]  # fmt: skip


def _traffic(found: dict[str, Any]) -> str:
    head = ("Cox, what leaves one hospital", "rounds", "numbers", "bytes", "of them before the last pass")
    rows = [
        [f"**Confrere**, {'one baseline' if 'one' in o['name'] else 'a baseline per hospital'} (measured)",
         f"{o['rounds']}", f"{o['numbers']:,}", size(o["payload"]), size(o["payload_before_last_pass"])]
        for o in found["ours"] if o["name"].startswith("cox")
    ]  # fmt: skip
    rows += [
        [f"{o['system']}, {o['formula']} (computed, {o['source']})", f"{o['rounds']}", f"{o['numbers']:,}",
         size(o["bytes"]), NONE]
        for o in found["computed"]
    ]  # fmt: skip
    foot = (
        f"p = {found['terms']} terms, T = {found['event_times']:,} event times. Ours: masked integers of 128 bits, "
        f"16 bytes a number, supports included; whole messages with keys and signatures: "
        f"{', '.join(size(o['sent']) for o in found['ours'] if o['name'].startswith('cox'))}. The others: 8 bytes a "
        f"number, in the clear. The last pass makes standard errors exact."
    )
    return f"{grid(head, rows)}\n\n{foot}"


def _published(found: dict[str, Any]) -> str:
    head = ("federated beside pooled, relative error", "ties", "hazard ratio", "SE", "p-value")
    rows = []
    for ours, theirs in zip(found["ours"], found["fedeca"], strict=True):
        for who, it, which in (
            ("**Confrere** (measured, largest)", ours, ""),
            ("FedECA (published, ", theirs, f"{theirs['which']})"),
        ):
            shown = [small(it.get(key), 1) for key in ("hazard_ratio", "se", "p_value")]
            rows.append([who + which, f"{it['ties']:.0%}", *shown])
    seconds = [f"{o['what']}: {_range(o['least'], o['most'])} ({o['kind']})" for o in found["fedeca_seconds"]]
    ours = [o["wall"] for o in found["ours"]]
    foot = (
        f"1,000 people, 10 covariates. Theirs ({found['source']}): a weighted Cox model, pooled with Efron's ties, "
        f"federated with Breslow's. Ours: a Cox model stratified by hospital, beside R coxph. Seconds for one "
        f"analysis: Confrere in one process {_range(min(ours), max(ours))}; FedECA, {'; '.join(seconds)}."
    )
    return f"{grid(head, rows)}\n\n{foot}"


def _growth(found: dict[str, Any]) -> str:
    head = ("growth of ours with", "from", "to", "seconds", "bytes", "memory")
    rows = [
        [f"{line['axis']}, {NAMES[line['task']]}", f"{line['sizes'][0]:,}", f"{line['sizes'][-1]:,}",
         *[f"{line['exponents'][m]:.2f}" for m in ("seconds", "bytes", "memory")]]
        for line in found["lines"]
    ]  # fmt: skip
    foot = "The power by which each grows (1 is proportional); memory is the data and what the fit adds at its peak."
    return f"{grid(head, rows)}\n\n{foot}"


def _rest(results: dict[str, Any]) -> str:
    mask, begin = results["masking"], results["start"]
    slope, curve = mask["over_cox_slope"], mask["over_cox_curve"]
    ratio = (
        f", {slope:.2f} of a step of the Cox fit above that asks for the score, {curve:.2f} of one that asks for the "
        f"information too"
        if slope is not None and curve is not None
        else ""
    )
    return (
        f"Masking and unmasking 1 MB of each of {mask['hospitals']} hospitals takes "
        f"{mask['mask']['median'] + mask['add']['median']:.3f} s{ratio}; verifying and adding up at every hospital "
        f"{mask['verify']['median']:.3f} s more. `confrere demo` prints its hazard ratios after "
        f"{begin['demo']['median']:.1f} s; `import confrere` takes {begin['import']['median']:.2f} s, of which "
        f"Python's own start is {begin['python']['median']:.2f} s."
    )


def three(value: float) -> str:
    """Three significant digits; from 100 on all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def small(value: float | None, digits: int = 0) -> str:
    """An error, or a dash where there is none."""
    return NONE if value is None else f"{value:.{digits}e}"


def size(count: int) -> str:
    """Bytes for readers: kB and MB of 1,000."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _range(least: float, most: float) -> str:
    low, high = (three(v) for v in (least, most))
    return f"{low} s" if low == high else f"{low} to {high} s"
