"""EconML's LinearDML on the pooled people of `benchmarks.responders`: `python linear_dml.py people.npy` prints JSON."""

import json
import sys
import time
import warnings

import numpy as np
from econml.dml import LinearDML
from sklearn.linear_model import LinearRegression, LogisticRegression

WARM = 5_000


def fitted(columns):
    """Coefficients of the modifiers with standard errors."""
    x, treated, y = columns[:, :-3], columns[:, -3].astype(int), columns[:, -2]
    model = LinearDML(model_y=LinearRegression(), model_t=LogisticRegression(C=np.inf, max_iter=1000),
                      discrete_treatment=True, cv=2, random_state=1)  # fmt: skip
    model.fit(y, treated, X=x, inference="statsmodels")
    found = model.coef__inference()
    return np.ravel(found.point_estimate).tolist(), np.ravel(found.stderr).tolist()


def main():
    """Fit a few, then all."""
    warnings.simplefilter("ignore")
    columns = np.load(sys.argv[1])
    fitted(columns[:: max(1, len(columns) // WARM)])
    wall, cpu = time.perf_counter(), time.process_time()
    estimate, error = fitted(columns)
    seconds = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps(seconds | {"estimate": estimate, "std_error": error}))


if __name__ == "__main__":
    main()
