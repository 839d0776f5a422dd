"""Quantiles and tails are those of scipy.stats, to the last bit, and it is not imported for them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

from confrere.analyses import distributions as ours

P = np.array([0.0, 1e-300, 1e-8, 0.025, 0.3, 0.5, 0.975, 1 - 1e-12, 1.0, np.nan])
X = np.array([-40.0, -8.2, -1.96, -1e-9, 0.0, 0.3, 1.96, 5.0, 38.5, np.inf, np.nan])
DF = np.array([0.5, 1.0, 2.0, 7.3, 30.0, 1e4, np.nan])


def same(found: object, wanted: object) -> None:
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


def test_the_normal_distribution() -> None:
    for name, at in (("ppf", P), ("cdf", X), ("sf", X), ("pdf", X)):
        same(getattr(ours, f"norm_{name}")(at), getattr(scipy.stats.norm, name)(at))


def test_students_t() -> None:
    inner = P[1:-2]  # at 0 and 1 scipy.stats has its own infinities
    same(ours.t_ppf(inner[:, None], DF), scipy.stats.t.ppf(inner[:, None], DF))
    same(ours.t_sf(X[:, None], DF), scipy.stats.t.sf(X[:, None], DF))
    same(ours.t_ppf(0.975, np.inf), scipy.stats.t.ppf(0.975, np.inf))
    same(ours.t_sf(1.3, np.inf), scipy.stats.t.sf(1.3, np.inf))


def test_chi_square_and_f() -> None:
    for df in (0, 1, 2, 7.5, 400):
        same(ours.chi2_sf(X, df), scipy.stats.chi2.sf(X, df))
        if df:
            same(ours.chi2_ppf(P, df), scipy.stats.chi2.ppf(P, df))
            for rest in (3, 60.5, 1e5):
                same(ours.f_sf(X, df, rest), scipy.stats.f.sf(X, df, rest))


def test_a_number_gives_a_number() -> None:
    for found in (ours.norm_sf(1.0), ours.t_sf(1.0, 3), ours.chi2_sf(3.0, 2), ours.f_sf(2.0, 3, 9), ours.norm_pdf(0.0)):
        assert isinstance(float(found), float)
        assert np.ndim(found) == 0


@pytest.mark.parametrize("module", ["finding", "predict", "table_one", "cox", "glm", "effects.measures"])
def test_no_method_imports_scipy_stats_for_them(module: str) -> None:
    code = f"import sys, confrere.analyses.{module}; sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
