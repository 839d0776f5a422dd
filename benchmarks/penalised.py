"""The lasso over ten hospitals, masks on, beside glmnet and scikit-learn with all rows at one place.

    python -m benchmarks.penalised                             # 100,000 people, 100 terms; then 1,000,000 people, 20
    python -m benchmarks.penalised --people 100000 --terms 20

A path of 100 penalties and 10-fold cross-validation, with the same folds for all: R's `cv.glmnet` (`penalised.R`), and
of a linear model scikit-learn's `LassoCV`. Of ours the clock sees the reading of frames, keys, gates, masks, signatures
and every hospital's own copy of the flow, without debiasing; of the others the fit, from matrices in memory. Each fit
is in a process of its own. Printed are seconds and processor seconds, their ratios, and how far coefficients are from
glmnet's at the penalty that ours chose. A logistic path of ours rests on few points that are asked (`docs/methods/
penalised.md`), with the fit and the loss at the penalties that are told exact; glmnet's rests on all rows each time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import confrere as cf
from benchmarks.process import fresh, python, timed
from confrere.rounds import People

FOLDS, PENALTIES, SMALLEST = 10, 100, 1e-4
KEY = b"benchmark"
FAMILIES = {"gaussian": "y", "binomial": "ill"}
SIZES = ((100_000, 100), (1_000_000, 20))


def people(n: int, terms: int, seed: int = 1) -> np.ndarray:
    """(n, terms + 3): terms that go with their neighbours, of which a third matters; a number, a mark, the fold."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, terms))
    for j in range(1, terms):
        x[:, j] = 0.5 * x[:, j - 1] + np.sqrt(0.75) * x[:, j]
    truth = np.where(np.arange(terms) % 3 == 0, 0.3 / (1 + np.arange(terms) / 6), 0.0)
    eta = x @ truth
    ill = (rng.random(n) < 1 / (1 + np.exp(0.8 - eta))).astype(float)
    fold = People(None, shared=KEY).words("penalised", np.arange(n), shared=True) % np.uint64(FOLDS)
    return np.asfortranarray(np.column_stack([x, eta + rng.normal(size=n), ill, fold.astype(float)]))


def ours(path: str, family: str, hospitals: int) -> dict[str, Any]:
    """The fit over so many hospitals of this process."""
    table = np.load(path)
    names = [f"x{j}" for j in range(table.shape[1] - 3)]
    frame = pd.DataFrame(table[:, :-1], columns=[*names, "y", "ill"]).assign(pid=np.arange(len(table)))

    def fit(part: pd.DataFrame) -> Any:
        rows = np.array_split(np.arange(len(part)), hospitals)
        frames = {f"h{i}": part.iloc[at] for i, at in enumerate(rows)}
        federation = cf.local(frames, person="pid")
        federation.key = KEY  # the folds of the others
        return federation.run(
            cf.Penalised(
                f"{FAMILIES[family]} ~ {' + '.join(names)}", family, penalties=PENALTIES, smallest=SMALLEST,
                folds=FOLDS, debias="",
            )
        )  # fmt: skip

    fit(frame.iloc[: 400 * len(names)])  # imports
    took = timed(lambda: fit(frame))
    found = took.result
    facts = {key: found.facts[key] for key in ("lambda", "folds", "anchors", "df")}
    coef = [row["estimate"] for row in found.tables["coefficients"]]
    more = {"bytes": found.results.bytes, "rounds": found.results.rounds}
    return {"wall": took.wall, "cpu": took.cpu, "coef": coef, **facts, **more}


def scikit(path: str) -> dict[str, Any]:
    """LassoCV with the same folds and penalties."""
    import sklearn
    from sklearn.linear_model import LassoCV
    from sklearn.model_selection import PredefinedSplit

    table = np.load(path)
    x, y, fold = np.ascontiguousarray(table[:, :-3]), table[:, -3], table[:, -1]
    x = x / x.std(axis=0)  # it penalises coefficients as they are
    model = LassoCV(eps=SMALLEST, cv=PredefinedSplit(fold), alphas=PENALTIES)
    took = timed(lambda: model.fit(x, y))
    return {"wall": took.wall, "cpu": took.cpu, "lambda": float(model.alpha_), "version": sklearn.__version__}


def beside(n: int, terms: int, hospitals: int) -> list[dict[str, Any]]:
    """All fits of people of one size; prints as it goes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "people.npy")
        np.save(path, people(n, terms))
        for family in FAMILIES:
            load = os.getloadavg()[0]
            said = f"{n:,} people x {terms}, {family}"
            own = fresh(python("penalised", "--fit", path, "--family", family, "--hospitals", str(hospitals)))
            if "failed" in own:
                raise RuntimeError(f"{said}: {own['failed']}")
            print(f"{said} (load {load:.1f}): Confrere, {hospitals} hospitals: {_seconds(own)}, {own['folds']} folds, "
                  f"{own['anchors']} points asked, {own['bytes'] / 1e6:.2f} MB left each", flush=True)  # fmt: skip
            rows.append({"people": n, "terms": terms, "family": family, "package": "confrere", "load": load, **own})
            command = ["Rscript", str(Path(__file__).parent / "penalised.R"), path, family, repr(own["lambda"])]
            others = {"glmnet": command, "scikit-learn": python("penalised", "--fit", path, "--family", "scikit")}
            for name, call in others.items():
                if name == "scikit-learn" and family != "gaussian":
                    continue
                found = _other(own, fresh(call), f"{said}: {name}")
                rows.append({"people": n, "terms": terms, "family": family, "package": name, **found})
    return rows


def _other(own: dict[str, Any], got: dict[str, Any], said: str) -> dict[str, Any]:
    """A peer's fit, beside ours."""
    if "failed" in got:
        print(f"  {said}: not measured, {got['failed']}", flush=True)
        return got
    ratio = {f"{kind}_ratio": own[kind] / got[kind] for kind in ("wall", "cpu")}
    apart = ""
    if "coef" in got:
        b, other = np.array(own["coef"])[1:], np.array(got["coef"])[1:]
        ratio["apart"] = float(np.abs(b - other).max() / np.abs(other).max())
        apart = f", where its loss is {got['above']:.1g} of its standard error above the least; coefficients there "
        apart += f"{ratio['apart']:.0e} of the largest apart"
    print(f"  {said} {got['version']}: {_seconds(got)}; ours {ratio['wall_ratio']:.2f} times as long, "
          f"{ratio['cpu_ratio']:.2f} times the processor; its penalty {got['lambda']:.3g}, ours "
          f"{own['lambda']:.3g}{apart}", flush=True)  # fmt: skip
    return got | ratio


def _seconds(run: dict[str, Any]) -> str:
    return f"{run['wall']:.1f} s, {run['cpu']:.1f} s of processors"


def main() -> None:
    """Run all, and print seconds and ratios; with --out also penalised.json."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--people", type=int)
    given.add_argument("--terms", type=int, default=20)
    given.add_argument("--hospitals", type=int, default=10)
    given.add_argument("--out", type=Path, help="folder for penalised.json")
    given.add_argument("--fit", help=argparse.SUPPRESS)  # one fit in this process
    given.add_argument("--family", help=argparse.SUPPRESS)
    asked = given.parse_args()
    if asked.fit:
        one = scikit(asked.fit) if asked.family == "scikit" else ours(asked.fit, asked.family, asked.hospitals)
        print(json.dumps(one))
        return
    rows, sizes = [], ((asked.people, asked.terms),) if asked.people else SIZES
    for n, terms in sizes:
        rows += beside(n, terms, asked.hospitals)
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        told = {
            "date": time.strftime("%Y-%m-%d"),
            "cores": os.cpu_count(),
            "rows": rows,
        }
        (asked.out / "penalised.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
