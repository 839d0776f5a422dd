"""Who synthetic people are: their sex, age, diseases, the treatment with a known effect, bleeding and death.

Everything is drawn for a block of people at once. Times are days since 1970-01-01 as whole numbers; what does not
happen happens on day `NEVER`.

    disease j   present with logit p = b_j + slope_j (age - 60)/10 + female_j + earlier diseases + hospital's shift
    death       the first of independent causes: age (Gompertz) and, from its onset, each lethal disease (exponential)
    treatment   new users of a drug for osteoarthritis get celecoxib, not diclofenac: logit p = TREATMENT' z + shift
    bleeding    after the first dose, hazard per year  BLEEDING exp(OUTCOME' z + effect celecoxib + hospital's shift)

where z are pain (0 to 10) less 5, age in years less 65, peptic ulcer and atrial fibrillation before the first dose.
Whoever is sicker gets celecoxib more often and bleeds more often: confounding by severity. Given z, treatment and
bleeding share nothing else, and the hazards are proportional: a Cox model with z and the drug, stratified by hospital,
is the true one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.int32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

NEVER = np.int32(2**31 - 1)
END = 20088  # 2024-12-31, the data cut
YEAR = 365.25
LONGEST = 14.0  # years of observation
LEAVING = 0.03  # share of people who move away in a year

BLEEDING, UNTREATED = 0.02, 0.002  # bleeds per year at z = 0: new users of diclofenac; everybody else of age
TREATMENT: Mapping[str, float] = {"pain": 0.3, "age": 0.025, "ulcer": 0.8, "fibrillation": 0.4}
OUTCOME: Mapping[str, float] = {"pain": 0.15, "age": 0.04, "ulcer": 0.9, "fibrillation": 0.5}
TREATED = 0.7  # of the people whose osteoarthritis begins while they are observed
BANDS = np.arange(2.5, 97.5, 5)  # middles of the ages of a hospital's patients, and how many there are of each
PYRAMID = np.array([5, 4, 4, 4.5, 5.5, 6, 6.5, 6.5, 6.3, 6.5, 7, 7, 7, 6.8, 6, 4.8, 3.5, 2, 0.9])
MORTALITY, AGEING, WOMEN = 3e-5, 0.095, 0.65  # deaths per year at birth, growth per year of age, women's share of it


class Disease(NamedTuple):
    """A lasting disease: `codes` are its concepts, the general one first; `share` is the probability at 60, of a man
    without the diseases in `after` ({name: log odds ratio}); `slope` in log odds per ten years."""

    codes: tuple[int, ...]
    source: str  # code of ICD-10 under which hospitals record it
    share: float
    slope: float
    female: float = 0.0
    youngest: float = 18.0
    after: Mapping[str, float] = {}
    lethal: float = 0.0  # deaths per year


DISEASES: Mapping[str, Disease] = {
    "hypertension": Disease((320128,), "I10", 0.42, 0.75, -0.1),
    "hyperlipidemia": Disease((432867,), "E78.5", 0.33, 0.5, -0.1, after={"hypertension": 0.6}),
    "diabetes": Disease((201826,), "E11.9", 0.1, 0.4, -0.35, after={"hypertension": 0.7, "hyperlipidemia": 0.5}),
    "kidney": Disease((443597,), "N18.3", 0.02, 0.75, after={"diabetes": 0.8, "hypertension": 0.6}, lethal=0.02),
    "coronary": Disease((317576,), "I25.1", 0.04, 0.75, -0.7, after={"hypertension": 0.5, "hyperlipidemia": 0.6}),
    "infarction": Disease((4329847,), "I21.9", 0.012, 0.5, -0.4, after={"coronary": 1.8}, lethal=0.05),
    "fibrillation": Disease((313217,), "I48.9", 0.025, 0.9, -0.4, after={"hypertension": 0.5}),
    "failure": Disease(
        (316139, 4229440), "I50.9", 0.01, 0.8, -0.2, after={"coronary": 1.0, "fibrillation": 0.9}, lethal=0.08
    ),
    "stroke": Disease((381316,), "I63.9", 0.012, 0.75, after={"fibrillation": 0.9, "hypertension": 0.6}, lethal=0.06),
    "emphysema": Disease((261325,), "J43.9", 0.04, 0.45, -0.4, 35, lethal=0.03),
    "asthma": Disease((317009,), "J45.9", 0.07, -0.03, 0.25, 5),
    "osteoarthritis": Disease((80180, 4079750, 4079749), "M19.9", 0.2, 0.55, 0.45, 35),
    "ulcer": Disease((4027663,), "K27.9", 0.05, 0.3, -0.2),
    "reflux": Disease((318800,), "K21.9", 0.12, 0.2, 0.1),
    "depression": Disease((4152280, 4282096), "F32.9", 0.08, 0.02, 0.6, 12),
    "hypothyroidism": Disease((140673,), "E03.9", 0.025, 0.35, 1.4),
    "gout": Disease((440674,), "M10.9", 0.04, 0.4, -1.1, 30, after={"kidney": 0.8}),
    "osteoporosis": Disease((80502,), "M81.0", 0.02, 0.8, 1.7, 45),
    "breast cancer": Disease((4112853,), "C50.9", 0.0004, 0.4, 4.6, 30, lethal=0.03),
    "colon cancer": Disease((4180790, 197500), "C18.9", 0.01, 0.7, -0.2, 35, lethal=0.1),
    "dementia": Disease((378419,), "G30.9", 0.002, 1.5, 0.2, 50, lethal=0.12),
    "anemia": Disease((439777,), "D64.9", 0.03, 0.35, 0.5, 12, after={"kidney": 1.0}),
}
PLACE = {name: j for j, name in enumerate(DISEASES)}


class Site(NamedTuple):
    """How a hospital differs from the average one; all zeros, 1/2 and False where hospitals do not differ.

    older        log odds per 20 years of age
    female       log odds of being a woman
    diseases     (D,) log odds of each disease
    celecoxib    log odds of getting it, of new users
    bleeding     log hazard
    visits       log rate
    specific     share of diagnoses and prescriptions that are coded in detail, where there are more detailed concepts
    unmapped     share of diagnoses without a standard concept (concept 0, the source's code kept)
    molar        creatinine in umol/L, not mg/dL
    """

    older: float
    female: float
    diseases: Floats
    celecoxib: float
    bleeding: float
    visits: float
    specific: float
    unmapped: float
    molar: bool


class Lives(NamedTuple):
    """A block of n people: days, flags and numbers of each.

    onset        (D, n) first day of each disease
    drug         (n,) first day of celecoxib or diclofenac; `celecoxib` says which
    pain         (n,) 0 to 10 on that day
    cause        (n,) concept of the disease that they die of, or 0
    """

    birth: Days
    female: Flags
    race: NDArray[np.int64]
    start: Days
    end: Days
    death: Days
    cause: NDArray[np.int64]
    onset: Days
    drug: Days
    celecoxib: Flags
    pain: Floats
    bleed: Days


def site(rng: np.random.Generator, shift: float) -> Site:
    """A hospital's own ways; `shift` 0 gives the average hospital, 1 marked differences."""
    older, female, celecoxib, bleeding, visits, specific, unmapped, molar = rng.normal(size=8).tolist()
    return Site(
        0.25 * shift * older, 0.2 * shift * female, 0.3 * shift * rng.normal(size=len(DISEASES)),
        0.5 * shift * celecoxib, 0.3 * shift * bleeding, 0.25 * shift * visits,
        float(_share(2 * shift * specific)), min(0.3, 0.02 * float(np.exp(shift * unmapped))), shift * molar > 0,
    )  # fmt: skip


def lives(rng: np.random.Generator, here: Site, n: int, effect: float) -> Lives:
    """The lives of n people of a hospital. `effect`: log hazard ratio of bleeding, celecoxib against diclofenac."""
    weights = PYRAMID * np.exp(here.older * (BANDS - 45) / 20)
    age = rng.choice(BANDS, n, p=weights / weights.sum()) + rng.uniform(-2.5, 2.5, n)
    female = rng.random(n) < _share(0.08 + 0.012 * (age - 45) + here.female)
    race = rng.choice(np.array([8527, 8516, 8515]), n, p=[0.82, 0.1, 0.08])
    birth = np.floor(END - age * YEAR).astype(np.int32)
    start = np.maximum(birth, np.floor(END - rng.uniform(1, LONGEST, n) * YEAR)).astype(np.int32)
    onset = _diseases(rng, here, age, female, birth, start)
    death, cause = _deaths(rng, female, birth, start, onset)
    leaves = start + 30 + np.floor(rng.exponential(YEAR / LEAVING, n))
    end = np.minimum(np.minimum(leaves, END), death).astype(np.int32)
    cause[death > end] = 0
    death = np.where(death > end, NEVER, death).astype(np.int32)
    onset = np.where(onset > end, NEVER, onset)
    drug, celecoxib, pain, bleed = _treatment(rng, here, effect, Observed(birth, female, start, end, onset))
    return Lives(birth, female, race, start, end, death, cause, onset, drug, celecoxib, pain, bleed)


class Observed(NamedTuple):
    """What treatment depends on; the fields as in `Lives`."""

    birth: Days
    female: Flags
    start: Days
    end: Days
    onset: Days


def _share(logit: float | Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.asarray(logit, dtype=np.float64))))


def _diseases(rng: np.random.Generator, here: Site, age: Floats, female: Flags, birth: Days, start: Days) -> Days:
    """(D, n) first days. A third of those who have a disease at the data cut had it when observation began."""
    n = len(age)
    present = np.zeros((len(DISEASES), n), dtype=bool)
    onset = np.full((len(DISEASES), n), NEVER, dtype=np.int32)
    for j, disease in enumerate(DISEASES.values()):
        logit = np.log(disease.share / (1 - disease.share)) + here.diseases[j]
        logit = logit + disease.slope * (age - 60) / 10 + disease.female * female
        for name, more in disease.after.items():
            logit = logit + more * present[PLACE[name]]
        present[j] = (rng.random(n) < _share(logit)) & (age > disease.youngest)
        when = np.where(rng.random(n) < 1 / 3, start, start + rng.random(n) * (END - start))
        when = np.maximum(when, birth + np.ceil(disease.youngest * YEAR))
        onset[j] = np.where(present[j] & (when <= END), when, NEVER).astype(np.int32)
    return onset


def _deaths(
    rng: np.random.Generator, female: Flags, birth: Days, start: Days, onset: Days
) -> tuple[Days, NDArray[np.int64]]:
    """Day and cause of death; some of them after the data cut."""
    n = len(birth)
    level = MORTALITY * np.where(female, WOMEN, 1.0) * np.exp(AGEING * (start - birth) / YEAR)
    death = start + 1 + np.floor(YEAR / AGEING * np.log1p(AGEING * rng.exponential(size=n) / level))
    cause = np.zeros(n, dtype=np.int64)
    for j, disease in enumerate(DISEASES.values()):
        if disease.lethal:
            when = onset[j] + 1 + np.floor(rng.exponential(YEAR / disease.lethal, n))
            first = (onset[j] < NEVER) & (when < death)
            death, cause = np.where(first, when, death), np.where(first, disease.codes[0], cause)
    return np.minimum(death, NEVER - 1).astype(np.int32), cause


def _treatment(rng: np.random.Generator, here: Site, effect: float, seen: Observed) -> tuple[Days, Flags, Floats, Days]:
    """First dose, whether it is celecoxib, pain on that day, and the first bleeding."""
    n = len(seen.birth)
    began = seen.onset[PLACE["osteoarthritis"]]
    when = began.astype(np.float64) + np.floor(rng.exponential(60, n))
    treated = (began < NEVER) & (began > seen.start) & (when < seen.end) & (rng.random(n) < TREATED)
    drug = np.where(treated, when, NEVER).astype(np.int32)
    pain = rng.binomial(10, 0.5, n).astype(np.float64)
    severity = _severity(seen, drug, pain)
    celecoxib = treated & (rng.random(n) < _share(here.celecoxib + _weighed(severity, TREATMENT)))
    hazard = np.exp(here.bleeding + _weighed(severity, OUTCOME) + effect * celecoxib)
    ulcer, late = seen.onset[PLACE["ulcer"]] < NEVER, (seen.start - seen.birth) / YEAR - 65
    other = np.exp(here.bleeding + OUTCOME["age"] * late + OUTCOME["ulcer"] * ulcer) * (late > -47)
    rate = np.where(treated, BLEEDING * hazard, UNTREATED * other)
    waiting = np.ceil(rng.exponential(size=n) * YEAR / np.maximum(rate, 1e-12))
    bleed = np.where(treated, drug, seen.start) + waiting
    return drug, celecoxib, pain, np.where(bleed <= seen.end, bleed, NEVER).astype(np.int32)


def _severity(seen: Observed, drug: Days, pain: Floats) -> dict[str, Floats]:
    """z of people on the day of their first dose, from what is recorded: age is year of the dose less year of birth."""
    years = (drug.astype("datetime64[D]").astype("datetime64[Y]") - seen.birth.astype("datetime64[D]").astype(
        "datetime64[Y]")).astype(np.float64)  # fmt: skip
    before = {name: (seen.onset[PLACE[name]] <= drug) & (drug < NEVER) for name in ("ulcer", "fibrillation")}
    age = np.where(drug < NEVER, years - 65, 0.0)
    return {"pain": pain - 5, "age": age, **{name: flag.astype(np.float64) for name, flag in before.items()}}


def _weighed(severity: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    return np.asarray(sum(weight * severity[name] for name, weight in weights.items()))
