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
    from confrere.analyses.effects.clone_censor_weight import CloneCensorWeight
    from confrere.analyses.effects.cost import Cost
    from confrere.analyses.effects.difference_in_differences import DifferenceInDifferences
    from confrere.analyses.effects.effect import Effect
    from confrere.analyses.effects.interaction import Interaction
    from confrere.analyses.effects.prognostic import Prognostic
    from confrere.analyses.effects.responders import Responders
    from confrere.analyses.effects.sequential_trials import SequentialTrials
    from confrere.analyses.feasibility import Feasibility
    from confrere.analyses.glm import Glm
    from confrere.analyses.kaplan_meier import KaplanMeier
    from confrere.analyses.kmeans import KMeans
    from confrere.analyses.learning.boosting import Boosting
    from confrere.analyses.learning.evaluate import Evaluate
    from confrere.analyses.learning.penalised import Penalised
    from confrere.analyses.linear import Linear
    from confrere.analyses.logistic import Logistic
    from confrere.analyses.logrank import LogRank
    from confrere.analyses.mixture import Mixture
    from confrere.analyses.networks.network import Network
    from confrere.analyses.occurrence import Occurrence
    from confrere.analyses.overlap import Overlap
    from confrere.analyses.pathways import Pathways
    from confrere.analyses.pca import PCA
    from confrere.analyses.person_time import PersonTime
    from confrere.analyses.poisson import Poisson
    from confrere.analyses.recruitment import Enrolment, Recruitment
    from confrere.analyses.similar_cases import SimilarCases
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
    "Boosting": "analyses.learning.boosting", "Evaluate": "analyses.learning.evaluate",
    "CloneCensorWeight": "analyses.effects.clone_censor_weight",
    "SequentialTrials": "analyses.effects.sequential_trials",
    "DifferenceInDifferences": "analyses.effects.difference_in_differences",
    "Cohort": "analyses.cohort", "Column": "study.schema", "CompetingRisks": "analyses.competing_risks",
    "Cox": "analyses.cox", "Describe": "analyses.describe", "Effect": "analyses.effects.effect",
    "Cost": "analyses.effects.cost", "Prognostic": "analyses.effects.prognostic",
    "Interaction": "analyses.effects.interaction", "Responders": "analyses.effects.responders",
    "Feasibility": "analyses.feasibility", "Fit": "console.fit", "Glm": "analyses.glm",
    "Enrolment": "analyses.recruitment", "Ground": "study.ground", "Recruitment": "analyses.recruitment",
    "Impute": "study.imputation", "KaplanMeier": "analyses.kaplan_meier", "Linear": "analyses.linear",
    "Local": "console.local", "LogRank": "analyses.logrank", "Logistic": "analyses.logistic",
    "Poisson": "analyses.poisson", "Remote": "console.client", "Results": "console.fit", "Schema": "study.schema",
    "Screening": "analyses.worklist", "SimilarCases": "analyses.similar_cases", "Study": "study.file",
    "connect": "console.client", "local": "console.local", "Network": "analyses.networks.network",
    "Occurrence": "analyses.occurrence", "Overlap": "analyses.overlap", "Pathways": "analyses.pathways",
    "PersonTime": "analyses.person_time", "read": "study.file", "KMeans": "analyses.kmeans",
    "Mixture": "analyses.mixture", "PCA": "analyses.pca", "Penalised": "analyses.learning.penalised",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'confrere' has no attribute {name!r}")
    return getattr(import_module(f"confrere.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*_WHERE, "__version__"])


__all__ = [
    "PCA", "Boosting", "CloneCensorWeight", "Cohort", "Column", "CompetingRisks", "Cost", "Cox", "Describe",
    "DifferenceInDifferences", "Effect", "Enrolment", "Evaluate", "Feasibility", "Fit", "Glm", "Ground", "Impute",
    "Interaction", "KMeans", "KaplanMeier", "Linear", "Local", "LogRank", "Logistic", "Mixture", "Network",
    "Occurrence", "Overlap", "Pathways", "Penalised", "PersonTime", "Poisson", "Prognostic", "Recruitment", "Remote",
    "Responders", "Results", "Schema", "Screening", "SequentialTrials", "SimilarCases", "Study", "connect", "local",
    "read",
]  # fmt: skip
