"""FedECA's published figures, and ours for the like: how far a federated Cox fit is from the pooled one.

Theirs: Ogier du Terrail et al., Nat Commun 2025;16:7496. Errors and network seconds were computed from the result
files in its repository (`experiments/results/pooled_equivalent`, `pooled_equivalent_ties`, `real-world`), not run here;
seconds on 2 cores were measured once, with its own code and quick start data, and are not measured again here.
They are of a weighted (IPTW) Cox model of the treatment, 1,000 people, 10 covariates; pooled with Efron's ties while
FedECA has Breslow's. Ours: a Cox model of 10 terms on 1,000 synthetic people at three hospitals, stratified by
hospital, held against R coxph of the same model with eps = 1e-15. So read sizes, not digits.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.beside import reference
from benchmarks.fit import measure
from benchmarks.people import Array, keep, load, people

PEOPLE, TERMS, HOSPITALS, YEAR = 1_000, 10, 3, 365
LEVELS = (0.0, 0.1, 0.5, 0.9)  # share of people whose times are rounded up to years
SOURCE = "Nat Commun 2025;16:7496, result files in its repository"
FEDECA: list[dict[str, Any]] = [
    {"ties": 0.0, "repeats": 100, "which": "largest", "hazard_ratio": 4.5e-5, "se": 2.6e-6, "p_value": 1.9e-3},
    {"ties": 0.1, "repeats": 5, "which": "median", "hazard_ratio": 7.4e-3, "se": None, "p_value": 0.12},
    {"ties": 0.5, "repeats": 5, "which": "median", "hazard_ratio": 1.8e-2, "se": None, "p_value": 0.26},
    {"ties": 0.9, "repeats": 5, "which": "largest", "hazard_ratio": 4.5e-2, "se": 2.0e-2, "p_value": 0.62},
]
FEDECA_SECONDS: list[dict[str, Any]] = [
    {"what": "real Substra network, 2 to 10 centres", "least": 4466, "most": 5198, "kind": "published"},
    {"what": "simulation in one process", "least": 5.5, "most": 22, "kind": "published"},
    {"what": "its code on 2 cores, one process", "least": 3.65, "most": 3.65, "kind": "measured November 2026"},
    {"what": "its code on 2 cores, a process per task", "least": 947, "most": 947, "kind": "measured November 2026"},
]


def equivalence(folder: Path, repeats: int, machine: dict[str, Any]) -> dict[str, Any]:
    """Our errors and seconds by the level of ties, over so many sets of people."""
    ours = []
    for ties in LEVELS:
        runs = [_run(folder / "equivalence.npy", ties, seed, machine) for seed in range(1, repeats + 1)]
        errors = [run["errors"] for run in runs if run["errors"]]
        most = {key: max(e[key] for e in errors) for key in errors[0]} if errors else {}
        seconds = median(run["wall"] for run in runs)
        ours.append({"ties": ties, "repeats": repeats, "rounds": runs[0]["rounds"], "wall": seconds, **most})
        print(f"  ties {ties:.0%}: {seconds:.2f} s", flush=True)
    about = {"people": PEOPLE, "terms": TERMS, "hospitals": HOSPITALS}
    return {**about, "ours": ours, "fedeca": FEDECA, "fedeca_seconds": FEDECA_SECONDS, "source": SOURCE}


def _run(path: Path, ties: float, seed: int, machine: dict[str, Any]) -> dict[str, Any]:
    """One set of people: ours beside R."""
    keep(path, tied(ties, seed))
    found = measure("cox: confrere", load(path))
    tight = reference(path, PEOPLE, machine).get("strata")
    return {"wall": found["wall"], "rounds": found["rounds"], "errors": tight and _errors(found, tight)}


def tied(share: float, seed: int) -> Array:
    """Columns of people, a share of whom have times rounded up to years, the others to nothing."""
    rng = np.random.default_rng(seed)
    frames = people(PEOPLE, TERMS, HOSPITALS, seed)
    columns = np.vstack([np.column_stack([f, np.full(len(f), i)]) for i, f in enumerate(frames.values())])
    exact = columns[:, TERMS] - rng.uniform(size=PEOPLE) * 0.999
    coarse = np.ceil(exact / YEAR) * YEAR
    columns[:, TERMS] = np.where(rng.uniform(size=PEOPLE) < share, coarse, exact)
    return columns


def _errors(found: dict[str, Any], tight: dict[str, Any]) -> dict[str, float]:
    """Largest relative errors over the terms."""
    (b, se), (b0, se0) = ((np.array(fit["coef"]), np.array(fit["se"])) for fit in (found, tight))
    p, p0 = (2 * stats.norm.sf(np.abs(z)) for z in (b / se, b0 / se0))
    pairs = {"hazard_ratio": (np.exp(b), np.exp(b0)), "log_hazard_ratio": (b, b0), "se": (se, se0), "p_value": (p, p0)}
    return {name: float(np.max(np.abs(x / x0 - 1))) for name, (x, x0) in pairs.items()}
