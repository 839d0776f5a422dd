"""One fit by one method in this process: `python -m benchmarks.fit "cox: lifelines" people.npy` prints JSON.

Every method first fits some of the people, so that neither imports nor just-in-time compilers are in its seconds.
What a method wants as input (a frame, a matrix) is made before the clock starts.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.people import HORIZON, Array, Data, load, some, tables_of
from benchmarks.process import timed

WARM = 5_000  # people of the first fit
FINE = 100_000  # people from which the budget of numbers reaches for a cell per day


class Fit(NamedTuple):
    """What a method found about the terms, without the intercept."""

    coef: Array  # (p,)
    se: Array | None  # (p,) where the method gives them
    more: dict[str, Any] = {}  # noqa: RUF012 - never changed


Run = Callable[[], Fit]


# Confrere: a whole federation in this process, masks and gates on, reading of the frames included -----------------


def cox(data: Data) -> Run:
    """Stratified by hospital: risk sets never leave one."""
    from confrere import Cox

    return _confrere(data, Cox(f"Surv(time, event) ~ {_right(data)}", diagnostics=False))


def cox_shared(data: Data) -> Run:
    """One baseline hazard for all hospitals, exact times approved."""
    from confrere import Cox

    days = cell_days(data.time.size)
    data = data._replace(time=np.ceil(data.time / days) * days)
    formula = f"Surv(time, event) ~ {_right(data)}"
    return _confrere(data, Cox(formula, baseline="shared", diagnostics=False), ("fine_times",))


def logistic(data: Data) -> Run:
    """Logistic regression with model standard errors."""
    from confrere import Logistic

    return _confrere(data, Logistic(f"ill ~ {_right(data)}"))


def cell_days(people: int) -> int:
    """Days of a cell of the one baseline: exact, or coarse for small trials of the benchmark."""
    return 1 if people >= FINE else 30


def _right(data: Data) -> str:
    return " + ".join(f"x{j}" for j in range(data.x.shape[1]))


def _confrere(data: Data, analysis: Any, allow: tuple[str, ...] = ()) -> Run:
    import confrere
    from confrere.study import build

    days = cell_days(data.time.size)
    hospitals = confrere.local(tables_of(data), time_step=days, horizon=-(-HORIZON // days) * days)
    study = build.single(analysis, hospitals.ground_for(analysis, allow), allow=allow, k=11)

    def run() -> Fit:
        rounds: list[tuple[float, str]] = []
        results = hospitals.run(study, progress=lambda _, asks: rounds.append((time.perf_counter(), asks[0].step)))
        rounds.append((time.perf_counter(), "end"))
        table = results[study.analyses[0].name].summary()
        table = table[table["term"] != "Intercept"]
        return Fit(table["estimate"].to_numpy(), table["std_error"].to_numpy(), _travelled(results, rounds))

    return run


def _travelled(results: Any, rounds: list[tuple[float, str]]) -> dict[str, Any]:
    """Rounds, what left one hospital, and the seconds of each round by its step."""
    after = rounds[1:]
    steps = [(step, end - start) for (start, step), (end, _) in zip(rounds, after, strict=False)]
    left = [(part.step, part.name, part.numbers, part.bytes) for part in results.left]
    return {"rounds": results.rounds, "sent": results.bytes, "left": left, "steps": steps}


# Others, on the pooled people -----------------------------------------------------------------------------------


def cox_lifelines(data: Data) -> Run:
    """Its own fitter, stratified by hospital, Efron."""
    from lifelines import CoxPHFitter

    frame = pd.DataFrame(data.x, columns=[f"x{j}" for j in range(data.x.shape[1])])
    frame = frame.assign(time=data.time, event=data.event, hospital=data.hospital)

    def run() -> Fit:
        fit = CoxPHFitter().fit(frame, "time", "event", strata=["hospital"])
        return Fit(fit.params_.to_numpy(), fit.standard_errors_.to_numpy())

    return run


def cox_sksurv(data: Data) -> Run:
    """Not stratified, which it does not offer; no standard errors."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    x, y = np.ascontiguousarray(data.x), Surv.from_arrays(data.event.astype(bool), data.time)
    return lambda: Fit(CoxPHSurvivalAnalysis(ties="efron").fit(x, y).coef_, None)


def cox_statsmodels(data: Data) -> Run:
    """PHReg, stratified by hospital, Efron."""
    from statsmodels.api import PHReg

    x = np.ascontiguousarray(data.x)

    def run() -> Fit:
        fit = PHReg(data.time, x, status=data.event, ties="efron", strata=data.hospital).fit(disp=0)
        return Fit(fit.params, fit.bse)

    return run


def logistic_glum(data: Data) -> Run:
    """Without standard errors."""
    from glum import GeneralizedLinearRegressor

    x = np.asfortranarray(data.x)
    return lambda: Fit(GeneralizedLinearRegressor(family="binomial", alpha=0).fit(x, data.ill).coef_, None)


def logistic_glum_se(data: Data) -> Run:
    """With standard errors."""
    from glum import GeneralizedLinearRegressor

    x = np.asfortranarray(data.x)

    def run() -> Fit:
        fit = GeneralizedLinearRegressor(family="binomial", alpha=0).fit(x, data.ill)
        se = fit.std_errors(x, data.ill, dispersion=1.0, robust=False)
        return Fit(fit.coef_, np.asarray(se)[1:])

    return run


def logistic_sklearn(data: Data) -> Run:
    """newton-cholesky without penalty; no standard errors."""
    from sklearn.linear_model import LogisticRegression

    x = np.ascontiguousarray(data.x)
    return lambda: Fit(LogisticRegression(C=np.inf, solver="newton-cholesky").fit(x, data.ill).coef_[0], None)


def logistic_statsmodels(data: Data) -> Run:
    """Logit."""
    from statsmodels.api import Logit, add_constant

    x = add_constant(np.ascontiguousarray(data.x))

    def run() -> Fit:
        fit = Logit(data.ill, x).fit(disp=0)
        return Fit(fit.params[1:], fit.bse[1:])

    return run


METHODS: dict[str, Callable[[Data], Run]] = {
    "cox: confrere": cox,
    "cox: confrere, one baseline": cox_shared,
    "cox: lifelines": cox_lifelines,
    "cox: scikit-survival": cox_sksurv,
    "cox: statsmodels": cox_statsmodels,
    "logistic: confrere": logistic,
    "logistic: glum": logistic_glum,
    "logistic: glum with SE": logistic_glum_se,
    "logistic: scikit-learn": logistic_sklearn,
    "logistic: statsmodels": logistic_statsmodels,
}


def measure(method: str, data: Data) -> dict[str, Any]:
    """Fit some of the people, then all with a clock."""
    made = METHODS[method]
    warm = timed(lambda: made(some(data, WARM))())
    run = made(data)
    took = timed(run)
    fit: Fit = took.result
    return {
        "wall": took.wall, "cpu": took.cpu, "peak": took.peak, "more": took.more, "warm": warm.wall,
        "coef": fit.coef.tolist(), "se": None if fit.se is None else fit.se.tolist(), **fit.more,
    }  # fmt: skip


def main() -> None:
    """Print the measurement of the method and the file of the command line."""
    warnings.simplefilter("ignore")  # of the others about their own dependencies
    print(json.dumps(measure(sys.argv[1], load(Path(sys.argv[2])))))


if __name__ == "__main__":
    main()
