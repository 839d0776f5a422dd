"""Ask every hospital, move no patient: statistics over hospitals whose records stay where they are.

import confrere as cf
hospitals = cf.local({"curie": "curie.csv", "lyon": "lyon.parquet", "paris": "paris.duckdb"})
fit = hospitals.run(cf.Cox("Surv(rtime, recur) ~ hormon + age + nodes"))
fit.summary()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confrere.analyses.cohort import Cohort
    from confrere.analyses.competing_risks import CompetingRisks
    from confrere.analyses.cox import Cox
    from confrere.analyses.describe import Describe
    from confrere.analyses.glm import Glm
    from confrere.analyses.kaplan_meier import KaplanMeier
    from confrere.analyses.linear import Linear
    from confrere.analyses.logistic import Logistic
    from confrere.analyses.logrank import LogRank
    from confrere.analyses.poisson import Poisson
    from confrere.analyses.worklist import Screening
    from confrere.console.client import Remote, connect
    from confrere.console.fit import Fit, Results
    from confrere.console.local import Local, local
    from confrere.study.file import Study, read
    from confrere.study.ground import Ground
    from confrere.study.imputation import Impute
    from confrere.study.schema import Column, Schema

__version__ = "0.1.0"

# Imported on first use: the core stack takes seconds, `import confrere` must not.
_WHERE = {
    "Cohort": "analyses.cohort", "Column": "study.schema", "CompetingRisks": "analyses.competing_risks",
    "Cox": "analyses.cox", "Describe": "analyses.describe", "Fit": "console.fit", "Glm": "analyses.glm",
    "Ground": "study.ground",
    "Impute": "study.imputation", "KaplanMeier": "analyses.kaplan_meier", "Linear": "analyses.linear",
    "Local": "console.local", "LogRank": "analyses.logrank", "Logistic": "analyses.logistic",
    "Poisson": "analyses.poisson", "Remote": "console.client", "Results": "console.fit", "Schema": "study.schema",
    "Screening": "analyses.worklist", "Study": "study.file", "connect": "console.client", "local": "console.local",
    "read": "study.file",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'confrere' has no attribute {name!r}")
    return getattr(import_module(f"confrere.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*_WHERE, "__version__"])


__all__ = [
    "Cohort", "Column", "CompetingRisks", "Cox", "Describe", "Fit", "Glm", "Ground", "Impute", "KaplanMeier", "Linear",
    "Local", "LogRank", "Logistic", "Poisson", "Remote", "Results", "Schema", "Screening", "Study", "connect", "local",
    "read",
]  # fmt: skip
