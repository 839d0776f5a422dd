"""Cohorts of an OMOP source: definitions in OHDSI's Circe JSON (what ATLAS exports), executed by `ohdsi-circepy`.

    with opened("cdm/") as cdm:
        made = cohort(cdm, Path("cohort.json").read_text())
        made.rows.execute()       # subject_id, cohort_start_date, cohort_end_date

`ohdsi-circepy` builds a cohort in stages (entry events, inclusion rules one after the other, exit) and writes each into
a table of the backend. Here the backend is `_Stages`: it gives the source's typed tables, keeps what is written as
temporary tables, and notes at each stage who is left. So the funnel costs nothing but a list of people per rule.

https://github.com/OHDSI/Circepy; the reference is OHDSI's circe-be (Java), whose own suites are our tests.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from confrere.data.omop import Cdm, opened, shown
from confrere.data.table import Table
from confrere.errors import DataError, StudyError
from confrere.study.circe import Definition, definition

ENTRY, RULE, FINAL = "qualified", "included", "ended"  # stages of ohdsi-circepy, by the names of their tables
# Attributes of criteria that ohdsi-circepy 0.3 reads and does not apply: a cohort would silently be too large.
NOT_YET = {
    "ConditionEra": ("AgeAtStart", "AgeAtEnd"),
    "Death": ("OccurrenceEndDate", "CauseSourceConcept", "CauseSourceConceptCS"),
    "DoseEra": ("Unit", "UnitCS", "DoseValue", "AgeAtStart", "AgeAtEnd"),
    "DrugEra": ("AgeAtStart", "AgeAtEnd"),
    "DrugExposure": ("EffectiveDrugDose",),
    "Measurement": ("Abnormal", "RangeLowRatio", "RangeHighRatio", "Visits"),
    "ObservationPeriod": (
        "UserDefinedPeriod", "PeriodType", "PeriodTypeCS", "PeriodLength", "AgeAtStart", "AgeAtEnd",
    ),
    "PayerPlanPeriod": (
        "UserDefinedPeriod", "PeriodLength", "AgeAtStart", "AgeAtEnd", "PayerConcept", "PlanConcept",
        "SponsorConcept", "StopReasonConcept", "PayerSourceConcept", "PlanSourceConcept", "SponsorSourceConcept",
        "StopReasonSourceConcept",
    ),
}  # fmt: skip
EXCLUDING = ("GenderCS", "RaceCS", "EthnicityCS")  # of these it does not apply IsExclusion


class Made(NamedTuple):
    """A cohort as Ibis tables of its source.

    rows     subject_id, cohort_start_date, cohort_end_date: one row per person and era
    reached  person_id, reached: how many of `Definition.steps` each person of the source has passed
    """

    rows: Any
    reached: Any


@dataclass(eq=False)
class _Stages:
    """What `ohdsi-circepy` takes for a backend: the tables of a source, and temporary ones."""

    cdm: Cdm
    made: dict[str, Any] = field(default_factory=dict)
    people: list[Any] = field(default_factory=list)  # who had an entry event; passed rule 1; 2; ...
    name: str = "confrere"

    def table(self, name: str, database: str | None = None) -> Any:
        return self.made[name] if name in self.made else self.cdm.table(name)

    def create_table(self, name: str, obj: Any, **settings: Any) -> None:
        """Always temporary, and of another name: a table may be made of the one whose name it takes."""
        old, self.made[name] = self.made.get(name), self.cdm.keep(obj)
        if name.endswith((ENTRY, RULE)):
            self.people.append(self.cdm.keep(self.made[name].select("person_id").distinct()))
        if old is not None:
            self.cdm.forget(old)

    def drop_table(self, name: str, database: str | None = None, force: bool = False) -> None:
        if name in self.made:
            self.cdm.forget(self.made.pop(name))


def cohort(cdm: Cdm, text: str) -> Made:
    """Have a definition (Circe JSON) executed on a source. StudyError where it cannot be, with the reason.

    Both tables are lazy, and stand on temporary tables of the source's connection.
    """
    read = expression(text)
    from circe.execution import ExecutionError, build_cohort
    from ibis.common.exceptions import IbisError

    stages = _Stages(cdm)
    try:
        made = build_cohort(read, backend=cast(Any, stages), cdm_schema="cdm", session_prefix="cf_")
    except (ExecutionError, IbisError) as error:
        raise StudyError(f"the cohort definition cannot be executed: {str(error)[:200]}") from error
    rows = made.select(subject_id="person_id", cohort_start_date="start_date", cohort_end_date="end_date")
    final = cdm.keep(rows.select(person_id="subject_id").distinct())
    # a definition without rules has its stage all the same
    left = stages.people[: len(definition(text).rules) + 1]
    return Made(rows, _reached([cdm.table("person").select("person_id"), *left, final]))


def _reached(left: Sequence[Any]) -> Any:
    """How many steps each person passes: the last of the stages in which they are; `left` has who is left at each."""
    import ibis

    levels = [people.mutate(step=ibis.literal(j, "int64")) for j, people in enumerate(left)]
    return ibis.union(*levels).group_by("person_id").agg(reached=ibis._.step.max())


def expression(text: str) -> Any:
    """The definition as `ohdsi-circepy` has it. StudyError where it is not Circe's, or the package is not there."""
    try:
        from circe.api import cohort_expression_from_json
    except ImportError:
        raise StudyError("ohdsi-circepy is not installed; cohorts need: pip install 'confrere[omop]'") from None
    found = json.loads(definition(text).text)
    for node in _objects(found):
        _check_known(node)
        _check_applied(node)
        _check_adjusted(node)
        _use_apart(node, found.get("ConceptSets") or [])
    try:
        return cohort_expression_from_json(json.dumps(found))
    except ValueError as error:
        why = " ".join(str(error).split())[:200]
        raise StudyError(f"the cohort definition is not Circe's: {why}. Export it again from ATLAS") from error


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    """All objects of a JSON."""
    if isinstance(node, dict):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(value)


def _check_known(node: Mapping[str, Any]) -> None:
    """Refuse criteria and attributes that `ohdsi-circepy` does not know: it would pass over them."""
    from circe import cohortdefinition

    primary = node.get("PrimaryCriteria")
    listed = (primary.get("CriteriaList") if isinstance(primary, dict) else None) or []
    for criteria in (*listed, *(node.get("CensoringCriteria") or []), node.get("Criteria")):
        for kind, attributes in criteria.items() if isinstance(criteria, dict) else ():
            model = getattr(cohortdefinition, kind, None)
            fields = getattr(model, "model_fields", {}) if kind != "Criteria" else {}
            known = {str(name).replace("_", "").lower() for f, i in fields.items() for name in (f, i.alias)}
            strange = [key for key in attributes or () if key.replace("_", "").lower() not in known]
            if not fields:
                raise StudyError(f"the cohort definition has a criterion '{kind}', which is not one of OHDSI's")
            if strange:
                raise StudyError(
                    f"the cohort definition has '{strange[0]}' in {kind}, which ohdsi-circepy does not know"
                )


def _check_applied(node: Mapping[str, Any]) -> None:
    """Refuse what `ohdsi-circepy` would leave out without a word."""
    left = [
        f"{key} of {kind}"
        for kind, keys in NOT_YET.items()
        for key in keys
        if isinstance(node.get(kind), dict) and node[kind].get(key) not in (None, [], {}, False)
    ]
    left += [f"IsExclusion of {key}" for key in EXCLUDING if (node.get(key) or {}).get("IsExclusion")]
    if str(node.get("TimeUnit") or "day").lower() != "day":
        left.append(f"TimeUnit {node['TimeUnit']}")
    if left:
        raise StudyError(
            f"the cohort definition has {', '.join(left)}, which ohdsi-circepy 0.3 does not apply yet: the cohort "
            f"would be another one than OHDSI's. Say it otherwise, or leave it out"
        )


def _check_adjusted(node: Mapping[str, Any]) -> None:
    """Refuse adjusted dates by which an event could end before it starts: circe-be drops such, circepy 0.3 keeps them.

    An event lasts 0 days or more, so its adjusted end is not before its adjusted start if it starts no later from the
    same date, or from an earlier one.
    """
    adjusted = node.get("DateAdjustment")
    if not isinstance(adjusted, dict):
        return
    start, end = (str(adjusted.get(f"{side}With", f"{side.upper()}_DATE")).upper() for side in ("Start", "End"))
    first, last = (int(adjusted.get(f"{side}Offset", 0)) for side in ("Start", "End"))
    if first > last or (start, end) == ("END_DATE", "START_DATE"):
        raise StudyError(
            f"the cohort definition adjusts dates so that an event may end before it starts ({start} {first:+d} days "
            f"to {end} {last:+d} days): OHDSI leaves such events out, ohdsi-circepy 0.3 does not yet. Adjust both alike"
        )


def _use_apart(node: dict[str, Any], sets: list[Any]) -> None:
    """Give a concept set that one criterion uses twice a copy for each use: circepy 0.3 cannot join one set twice."""
    uses = [(node, "CodesetId")] if "CodesetId" in node else []
    uses += [(node, key) for key in node if key.endswith("SourceConcept")]
    uses += [(inner, "CodesetId") for key, inner in node.items() if key.endswith("CS") and isinstance(inner, dict)]
    seen: set[Any] = set()
    for place, key in uses:
        used = [s for s in sets if s.get("id") == place.get(key)]
        if place.get(key) in seen and used:
            place[key] = max(s["id"] for s in sets) + 1
            sets.append({**used[0], "id": place[key]})
        seen.add(place.get(key))


def people(
    source: str | Path, definitions: Sequence[Definition], hospital: str, without: Collection[str] = ()
) -> Table:
    """One row per person of a source: `person_id`, and for each definition how many of its steps the person passes.

    Raises DataError for what cannot be read, StudyError for a definition that cannot be executed.
    """
    import pandas as pd

    with opened(source, hospital, without) as cdm:
        frame = cdm.table("person").select("person_id").order_by("person_id").to_pyarrow().to_pandas()
        for made in definitions:
            found = cohort(cdm, made.text).reached.to_pyarrow().to_pandas().set_index("person_id")["reached"]
            frame[made.column] = found.reindex(frame["person_id"]).to_numpy(dtype=float)
    if frame["person_id"].isna().any() or frame["person_id"].duplicated().any():
        raise DataError(f"{hospital}: {shown(source)}: table 'person' has rows without, or with the same, person_id")
    frame["person_id"] = frame["person_id"].astype(str)
    return Table(pd.DataFrame(frame), len(frame), {}, {}, f"{hospital}: {shown(source)}")
