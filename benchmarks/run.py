"""Confrere beside R on the same synthetic people, in one run: `python benchmarks/run.py [people]`.

Ours is a whole federation of ten hospitals in this process, masks and gate on; R has the pooled rows. R is optional:
without `Rscript` and the package survival only ours is timed. Prints seconds, ratios and the largest difference of a
coefficient in standard errors. Machines are noisy: read the ratios, not the seconds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from people import people

import confrere as cf

TERMS, HOSPITALS, TIMES = 20, 10, 3
RIGHT = " + ".join(f"x{j}" for j in range(TERMS))
R = """
suppressMessages(library(survival)); a <- commandArgs(TRUE); d <- read.csv(a[1])
x <- as.matrix(d[, 1:{terms}]); y <- Surv(d$time, d$event); s <- as.integer(factor(d$hospital))
timed <- function(f) {{ t <- proc.time()[[3]]; r <- f(); list(seconds = proc.time()[[3]] - t, fit = r) }}
cox <- function() coxph.fit(x, y, s, control = coxph.control(eps = 1e-15), method = "efron", rownames = NULL)
logit <- function() glm.fit(cbind(1, x), d$ill, family = binomial(), control = glm.control(epsilon = 1e-14))
c1 <- lapply(1:{times}, function(i) timed(cox)); g1 <- lapply(1:{times}, function(i) timed(logit))
out <- list(cox = list(seconds = median(sapply(c1, function(r) r$seconds)), coef = unname(c1[[1]]$fit$coefficients)),
  logistic = list(seconds = median(sapply(g1, function(r) r$seconds)), coef = unname(g1[[1]]$fit$coefficients[-1])))
cat(jsonlite::toJSON(out, digits = 17, auto_unbox = TRUE))
"""


def ours(tables: dict[str, pd.DataFrame], analysis: object) -> tuple[float, np.ndarray, np.ndarray]:
    """Median seconds, coefficients and standard errors of a masked run."""
    hospitals, seconds = cf.local(tables), []
    for _ in range(TIMES):
        start = time.monotonic()
        fit = hospitals.run(analysis)
        seconds.append(time.monotonic() - start)
    table = fit.summary()
    table = table[table["term"] != "Intercept"]
    return median(seconds), table["estimate"].to_numpy(), table["std_error"].to_numpy()


def in_r(tables: dict[str, pd.DataFrame]) -> dict[str, dict[str, object]]:
    """The same fits in R on the pooled rows, or nothing where R is not installed."""
    if shutil.which("Rscript") is None:
        return {}
    pooled = pd.concat([t.assign(hospital=name) for name, t in tables.items()])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.csv"
        pooled.to_csv(path, index=False)
        script = R.format(terms=TERMS, times=TIMES)
        done = subprocess.run(["Rscript", "-e", script, str(path)], capture_output=True, text=True, check=True)
    found: dict[str, dict[str, object]] = json.loads(done.stdout)
    return found


def main() -> None:
    """Time both and print a table."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    tables = people(n, TERMS, HOSPITALS)
    peers = in_r(tables)
    print(f"{n:,} people x {TERMS} terms, {HOSPITALS} hospitals, median of {TIMES}")
    analyses = {
        "cox": cf.Cox(f"Surv(time, event) ~ {RIGHT}", diagnostics=False),
        "logistic": cf.Logistic(f"ill ~ {RIGHT}"),
    }
    for name, analysis in analyses.items():
        seconds, coef, se = ours(tables, analysis)
        line = f"{name:9s} confrere {seconds:6.2f} s"
        if name in peers:
            theirs = float(str(peers[name]["seconds"]))
            worst = float(np.max(np.abs(coef - np.array(peers[name]["coef"])) / se))
            line += f"   R {theirs:6.2f} s   ratio {seconds / theirs:5.2f}   largest difference {worst:.1e} SE"
        print(line)


if __name__ == "__main__":
    main()
