"""A study to begin with for every method of this package: what a researcher changes rather than writes.

The codes of concepts are real ones: a study of OMOP records can be counted as it stands.
"""

from typing import Final, NamedTuple

HEAD: Final = """# What stewards read first. The hash of this file is what they approve.
[study]
id = "my-study"
title = "What the study asks, in one line"
purpose = "public-interest research"
# legal_basis = "MR-004, number ..."
# people = ["who will read the findings"]
# ends = 2027-12-31

"""
TABLE: Final = """[data]
table = "patients"        # as the hospitals call it
"""
_PEOPLE: Final = f"""{TABLE}person = "patient"        # the column with the person's id
"""
_RECORDS: Final = """[data]
table = "omop"            # records in the OMOP common data model
"""
_DIABETES: Final = """
[concepts.diabetes]
include = ["SNOMED:44054006"]   # VOCABULARY:code, or ids of concepts; with all that is below them

[cohorts.diabetes]
entry = { condition = "diabetes", first = true }
observed = { before = 365 }     # days of observation before entry
"""
_METFORMIN: Final = """
[concepts.metformin]
include = ["RxNorm:6809"]

[cohorts.metformin]
entry = { drug = "metformin" }
events = "all"
exit = { while_on = "metformin", gap = 30 }
"""
_INSULIN: Final = """
[concepts.insulin]
include = ["ATC:A10A"]

[cohorts.insulin]
entry = { drug = "insulin" }
events = "all"
exit = { while_on = "insulin", gap = 30 }
"""
_HYPOGLYCAEMIA: Final = """
[concepts.hypoglycaemia]
include = ["SNOMED:302866003"]

[cohorts.hypoglycaemia]
entry = { condition = "hypoglycaemia" }
events = "all"
exit = { after = 0 }
"""
_TRIAL: Final = """
[concepts]
diabetes = { include = ["SNOMED:44054006"] }    # VOCABULARY:code, or ids of concepts; with all that is below them
hba1c = { include = ["LOINC:4548-4"] }
insulin = { include = ["ATC:A10A"] }

[cohorts.trial]
entry = { condition = "diabetes" }
observed = { before = 365 }                     # days of observation before entry
criteria = [
  { name = "40 to 75 years old", age = [40, 75] },
  { name = "HbA1c 7 % or more", measurement = "hba1c", value = ">= 7", unit = "UCUM:%", before = 180 },
  { name = "no insulin in the last year", no = { drug = "insulin" }, before = 365 },
]
"""
_SURVIVAL: Final = 'formula = "Surv(time, event) ~ treatment"'
_REGRESSION: Final = 'formula = "outcome ~ treatment + age"'
_COLUMNS: Final = 'formula = "~ age + weight + systolic"'


class Start(NamedTuple):
    """The settings of an analysis, and the tables of the study above it."""

    settings: str
    data: str = TABLE


STARTS: Final = {
    "network": Start(
        'outcome = "outcome"\nfeatures = "age + weight + systolic"\nmodule = "mlp"\nsettings = { hidden = [16] }\n'
        "rounds = 20",
        f'{_PEOPLE}\n[disclosure]\nallow = ["model_weights"]    # each steward says yes to it, in words\n',
    ),
    "boosting": Start(
        'outcome = "outcome"\nfeatures = ["age", "weight", "systolic"]\ntrees = 20\ndepth = 3',
        f'{_PEOPLE}\n[disclosure]\nallow = ["histograms"]    # each steward says yes to it, in words\n',
    ),
    "clone_censor_weight": Start(
        'outcome = "Surv(time, event)"\nstarted = "start"        # time from time zero; empty: never\n'
        'grace = 180\nconfounders = "age + weight"\ntimes = [365, 1095]'
    ),
    "sequential_trials": Start(
        'outcome = "Surv(time, event)"\nstarted = "start"        # time from entry; empty: never\n'
        'periods = [90, 180, 270]           # ends of the periods; a trial begins at each\n'
        'confounders = "age + weight"\ntimes = [365]'
    ),
    "cohort": Start('cohort = "trial"', _RECORDS + _TRIAL),
    "competing_risks": Start(_SURVIVAL, f'{TABLE}\n[data.columns.event]\nlevels = ["none", "relapse", "death"]\n'),
    "cost": Start(
        'treatment = "treatment"\noutcome = "Surv(time, event)"\ncosts = ["cost_year_1", "cost_year_2"]\n'
        'intervals = [365, 730]           # right edges of the parts of time that the costs are of\n'
        'willingness = [20000, 50000]     # what a year of life is worth\nconfounders = "age + weight"',
    ),
    "cox": Start(f'{_SURVIVAL[:-1]} + age"'),
    "describe": Start('variables = ["age", "treatment"]'),
    "difference_in_differences": Start(
        'outcomes = ["visits_2022", "visits_2023", "visits_2024"]\nperiods = [2022, 2023, 2024]\n'
        'treated_from = "treated_from"   # a period; empty: never\nconfounders = "age + weight"'
    ),
    "effect": Start('treatment = "treatment"\noutcome = "outcome"\nconfounders = "age + weight"\nestimand = "ATE"'),
    "enrolment": Start(
        'study = "my-trial"        # the study that made the lists\ntitle = "Who may be eligible"\n'
        'as_of = "2026-10-31"      # a day that is over',
        _PEOPLE,
    ),
    "evaluate": Start(
        'outcome = "outcome"\nrisk = "score"             # a column with the predicted risk, from 0 to 1\n'
        'thresholds = [0.1, 0.2]\nby = "sex"',
        f'{TABLE}\n[data.columns.sex]\nlevels = ["female", "male"]\n',
    ),
    "feasibility": Start('cohort = "trial"\nyears = [2016, 2025]', _RECORDS + _TRIAL),
    "glm": Start(f'{_REGRESSION}\nfamily = "gaussian"'),
    "kaplan_meier": Start(_SURVIVAL),
    "kmeans": Start(f"{_COLUMNS}\nclusters = 3"),
    "linear": Start(_REGRESSION),
    "logistic": Start(_REGRESSION),
    "logrank": Start(_SURVIVAL),
    "mixture": Start(f"{_COLUMNS}\nclusters = 3"),
    "occurrence": Start('outcome = "diabetes"\nyears = [2016, 2025]', _RECORDS + _DIABETES),
    "overlap": Start(
        'of = ["diabetes", "metformin", "insulin"]', _RECORDS + _DIABETES + _METFORMIN + _INSULIN
    ),
    "pathways": Start(
        'target = "diabetes"\ntreatments = ["metformin", "insulin"]', _RECORDS + _DIABETES + _METFORMIN + _INSULIN
    ),
    "pca": Start(_COLUMNS),
    "penalised": Start(_REGRESSION, _PEOPLE),
    "person_time": Start(
        'outcome = "hypoglycaemia"\nexposure = "insulin"\namong = "diabetes"',
        _RECORDS + _DIABETES + _INSULIN + _HYPOGLYCAEMIA,
    ),
    "poisson": Start(_REGRESSION),
    "prognostic": Start(
        'treatment = "treatment"\noutcome = "outcome"\ntrial = "in_trial"\nscore = "age + weight"\n'
        'difference = 5               # the effect that a trial is planned for',
    ),
    "recruitment": Start(
        'title = "Who may be eligible"\ncohort = "trial"\nunknown = 1               # criteria that may be unknown\n'
        'within = 180              # days before as_of in which people entered\nas_of = "2026-10-31"',
        f'{_RECORDS}person = "person_id"\n{_TRIAL}',
    ),
    "interaction": Start(
        'first = "treatment"\nsecond = "other_treatment"\noutcome = "outcome"\nconfounders = "age + weight"'
    ),
    "responders": Start(
        'treatment = "treatment"\noutcome = "outcome"\nconfounders = "age + weight"\nmodifiers = "age"', _PEOPLE
    ),
    "similar_cases": Start(
        'outcome = "group"\nfeatures = ["age", "weight"]\nquestion = [60, 80]       # the case to compare with, public',
        f'{TABLE}\n[data.columns.group]\nlevels = ["nevus", "melanoma"]\n',
    ),
    "worklist": Start('title = "Who may be eligible"\ncriteria = ["age >= 65", "treatment == 1"]', _PEOPLE),
}  # fmt: skip
