"""Cohorts of an OMOP source: definitions in OHDSI's Circe JSON (what ATLAS exports), executed by `ohdsi-circepy`.

    with opened("cdm/") as cdm:
        made = cohort(cdm, Path("cohort.json").read_text())
        made.rows.execute()       # subject_id, cohort_start_date, cohort_end_date
        made.people.execute()     # per person with an entry event: how far, which rules, from when to when

A definition is executed in stages: entry events, inclusion rules, exit. Each stage is `ohdsi-circepy`'s own, and so is
their order (its `build_cohort`, which the tests hold ours against); ours keeps, in temporary tables, which entry events
meet which rule, each rule by itself. So the funnel, every rule alone and the cohort cost one execution.

https://github.com/OHDSI/Circepy; the reference is OHDSI's circe-be (Java), whose own suites are our tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from confrere.data.concepts import resolved
from confrere.data.omop import Cdm
from confrere.errors import StudyError
from confrere.study.circe import definition

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
VALUES = ("value_as_number", "value_as_string", "value_as_concept", "value_as_concept_cs", "range_low", "range_high")
_ALL = ("ALL", "ANY")  # of one criterion, the same
ANY_NUMBER = -1.7e308  # below every value: "greater than" means that there is a value


class Made(NamedTuple):
    """A cohort as Ibis tables of its source; lazy, on temporary tables of the source's connection.

    rows     subject_id, cohort_start_date, cohort_end_date: one row per person and stay in the cohort
    reached  person_id, reached: how many of `Definition.steps` each person of the source has passed
    people   one row per person with an entry event that qualifies: person_id, reached, entry (date of the best entry
             event), rule_1 ... rule_n (does that event meet each rule by itself: 1, 0, or missing where a measurement
             is asked for and there is none in its window), start, end (dates of the first row of the cohort)
    The best of several entry events meets most rules; of those, circe-be takes the one that meets the earliest rule,
    then the earliest. `reached` is of the event that gets furthest through the rules in sequence.
    """

    rows: Any
    reached: Any
    people: Any


@dataclass(eq=False)
class _Stages:
    """What `ohdsi-circepy` takes for a backend: the tables of a source, and temporary ones."""

    cdm: Cdm
    made: dict[str, Any] = field(default_factory=dict)
    name: str = "confrere"

    def table(self, name: str, database: str | None = None) -> Any:
        return self.made[name] if name in self.made else self.cdm.table(name)

    def create_table(self, name: str, obj: Any, **settings: Any) -> None:
        """Always temporary, and of another name: a table may be made of the one whose name it takes."""
        old, self.made[name] = self.made.get(name), self.cdm.keep(obj)
        if old is not None:
            self.cdm.forget(old)

    def drop_table(self, name: str, database: str | None = None, force: bool = False) -> None:
        if name in self.made:
            self.cdm.forget(self.made.pop(name))


@contextmanager
def _executing() -> Iterator[None]:
    """What the executor cannot do is an error of the study."""
    from circe.execution import ExecutionError
    from ibis.common.exceptions import IbisError

    try:
        yield
    except (ExecutionError, IbisError) as error:
        raise StudyError(f"the cohort definition cannot be executed: {str(error)[:200]}") from error


EVENTS, CODES = "cf_events", "cf_codes"  # tables of a copy: entry events, and the concepts of every set
ENTRY = (  # what later stages read of an entry event
    "person_id", "event_id", "start_date", "end_date", "domain", "visit_occurrence_id", "op_start_date", "op_end_date",
)  # fmt: skip


class Entered:
    """The entry events of a definition on a source, found once; any rules on its concept sets can be judged on them.

    StudyError where a definition cannot be executed, with the reason; DataError for a code that the hospital's
    vocabulary does not have.
    """

    def __init__(self, cdm: Cdm, text: str) -> None:
        self.text = resolved(cdm, definition(text).text)  # by ids alone
        self.cdm, self.normal = cdm, _normal(self.text)
        with _executing():
            self.context = _context(cdm, self.normal.concept_sets)
            self.events = _entry_events(cdm, self.normal, self.context)

    def judged(self, unknown: bool = True) -> Any:
        """Of every entry event whether it meets each rule of the definition by itself.

        person_id, event_id, start_date, and `rule_j`: 1, 0, or missing where a measurement is asked for and there is
        none in its window; 0 there without `unknown`.
        """
        rules = self.normal.inclusion_rules
        with _executing():
            told = {2 * j + 1: _presence(rule.expression) for j, rule in enumerate(rules, 1) if unknown}
            asked = {2 * j: rule.expression for j, rule in enumerate(rules, 1)} | {n: g for n, g in told.items() if g}
            return _judged(self.cdm, self.events, asked, len(rules), self.context)

    def meeting(self, text: str) -> tuple[Any, Any]:
        """person_id, event_id of the entry events that meet the one rule of `text`, and of those of whom it is known.

        `text` names concepts by their ids, as that of this definition does. Neither is computed yet. The second is None
        where a rule is known of everybody.
        """
        from circe.execution.engine.group_operators import _COMPILED_CORRELATED_EVENTS

        (rule,) = _normal(text).inclusion_rules
        _COMPILED_CORRELATED_EVENTS.clear()
        there = _presence(rule.expression)
        with _executing():
            met = _meeting(self.events, rule.expression, self.context)
            return met, None if there is None else _meeting(self.events, there, self.context)

    def on(self, cdm: Cdm) -> Entered:
        """The same on a source of the rows of people with an entry event, which has `EVENTS` and `CODES` as tables."""
        from circe.execution.ibis.context import make_execution_context

        made = copy(self)
        made.cdm, made.events = cdm, cdm.stored(EVENTS)
        made.context = make_execution_context(
            backend=cast(Any, _Stages(cdm)), cdm_schema="cdm", codeset_table=cdm.stored(CODES)
        )
        return made


def _normal(text: str) -> Any:
    """A definition by ids, as the executor reads it."""
    read = expression(text)  # first: it says what to install

    from circe.execution.normalize.cohort import normalize_cohort

    with _executing():
        return normalize_cohort(read)


def cohort(cdm: Cdm, text: str, unknown: bool = True) -> Made:
    """Have a definition (Circe JSON) executed on a source. Errors are those of `Entered`.

    Without `unknown`, what is not known of a rule counts as 0, which takes less time.
    """
    entered = Entered(cdm, text)
    normal, judged = entered.normal, entered.judged(unknown)
    with _executing():
        rows = _finished(cdm, normal, entered.events, judged, entered.context)
    people = cdm.keep(_people(judged, rows, len(normal.inclusion_rules)))
    person = cdm.table("person").select("person_id")
    reached = person.left_join(people, "person_id").select(person.person_id, reached=people.reached.fill_null(0))
    return Made(rows, reached, people)


def _context(cdm: Cdm, sets: Any) -> Any:
    """What `ohdsi-circepy` reads a source by, with the concepts of all sets in a temporary table."""
    from circe.execution.engine.group_operators import _COMPILED_CORRELATED_EVENTS
    from circe.execution.ibis.codesets import build_single_codeset_table
    from circe.execution.ibis.context import make_execution_context

    _COMPILED_CORRELATED_EVENTS.clear()  # as build_cohort does: it holds on to the tables of the execution before
    stages = cast(Any, _Stages(cdm))
    codes = build_single_codeset_table(
        backend=stages, concept_sets=sets, batch_table_name="__codesets", results_schema="cdm",
        vocabulary_schema="cdm", session_prefix="cf_",
    )  # fmt: skip
    return make_execution_context(backend=stages, cdm_schema="cdm", codeset_table=codes)


def _entry_events(cdm: Cdm, normal: Any, context: Any) -> Any:
    """The entry events that qualify: primary criteria, observation window, additional criteria, their limits."""
    from circe.execution.engine.groups import apply_additional_criteria
    from circe.execution.engine.limits import apply_result_limit
    from circe.execution.engine.primary import build_primary_events
    from circe.execution.lower.criteria import lower_criterion
    from circe.execution.plan.cohort import CohortPlan, PrimaryEventInput

    plans = tuple(
        PrimaryEventInput(lower_criterion(criterion, criterion_index=i), criterion.correlated_criteria)
        for i, criterion in enumerate(normal.primary.criteria)
    )
    plan = CohortPlan(
        plans, normal.primary.observation_window, normal.primary.primary_limit_type,
        normal.result_limits.qualified_limit_type, normal.result_limits.expression_limit_type,
    )  # fmt: skip
    events = cdm.keep(build_primary_events(plan, context).select(*ENTRY))
    group = normal.additional_criteria
    if group is None or group.is_empty():
        return events
    limited = apply_result_limit(apply_additional_criteria(events, group, context), plan.qualified_limit_type)
    kept = cdm.keep(limited)
    cdm.forget(events)
    return kept


def _judged(cdm: Cdm, events: Any, asked: Mapping[int, Any], rules: int, context: Any) -> Any:
    """person_id, event_id, start_date of the entry events, and `rule_j` for each rule by itself: 1, 0, or missing.

    `asked` has the group of rule j at 2 j, and at 2 j + 1, where that is asked, the group which says if it is known.
    """
    import ibis

    kept = [(number, cdm.keep(_meeting(events, group, context))) for number, group in asked.items()]
    keys = events.group_by("person_id", "event_id").agg(start_date=events.start_date.min())
    if not kept:
        return cdm.keep(keys)
    told = ibis.union(*(k.mutate(asked=ibis.literal(number, "int64")) for number, k in kept))
    answers = {f"a{number}": (told.asked == number).ifelse(1, 0).max() for number, _ in kept}
    told = told.group_by("person_id", "event_id").agg(**answers).rename(whose="person_id", which="event_id")
    joined = keys.left_join(told, [keys.person_id == told.whose, keys.event_id == told.which])
    columns = {name: joined[name].fill_null(0).cast("float64") for name in answers}
    found = {}
    for j in range(1, rules + 1):
        met, known = columns[f"a{2 * j}"], columns.get(f"a{2 * j + 1}")
        found[f"rule_{j}"] = met if known is None else ibis.ifelse((met == 0) & (known == 0), ibis.null(), met)
    made = cdm.keep(joined.select("person_id", "event_id", "start_date", **found))
    for _, table in kept:
        cdm.forget(table)
    return made


def _meeting(events: Any, group: Any, context: Any) -> Any:
    """person_id, event_id of the entry events that meet a group of criteria."""
    from circe.execution.engine.group_keys import event_keys
    from circe.execution.engine.groups import _evaluate_group

    return event_keys(events) if group is None else _counting_rows(_evaluate_group(events, group, context))


def _counting_rows(found: Any) -> Any:
    """The same, events being counted as rows: so their ids, which no event lacks, are not read from large files."""
    import ibis.expr.operations as ops

    def replaced(node: Any, changed: Any) -> Any:
        made = node.__recreate__(changed) if changed else node
        ids = isinstance(made, ops.Count) and isinstance(made.arg, ops.Field) and made.arg.name == "a_event_id"
        return ops.CountStar(made.arg.rel, made.where) if ids else made

    return found.op().replace(replaced).to_expr()


def _presence(group: Any) -> Any:
    """For a rule that is one criterion "a measurement with such a value": that there is one with any value at all.

    None for every other rule: there, what is not recorded did not happen.
    """
    from circe.cohortdefinition import NumericRange

    if group is None or len(group.criteria) != 1 or group.groups or group.demographics or group.mode not in _ALL:
        return None
    asked = group.criteria[0]
    raw = asked.criterion.raw_criteria
    valued = [key for key in VALUES if getattr(raw, key, None)]
    if asked.criterion.criterion_type != "Measurement" or asked.occurrence_type != 2 or not valued:
        return None
    any_value = NumericRange(op="gt", value=ANY_NUMBER)
    loosened = {key: any_value if key in ("value_as_number", "range_low", "range_high") else None for key in valued}
    criterion = replace(asked.criterion, raw_criteria=raw.model_copy(update=loosened))
    return replace(group, criteria=(replace(asked, criterion=criterion, occurrence_count=1),))


def _finished(cdm: Cdm, normal: Any, events: Any, judged: Any, context: Any) -> Any:
    """Rows of the cohort: entry events that meet every rule, their limit, end, censoring, and what becomes one stay."""
    from circe.execution.engine.censoring import apply_censoring
    from circe.execution.engine.collapse import collapse_events
    from circe.execution.engine.end_strategy import apply_end_strategy
    from circe.execution.engine.limits import apply_result_limit

    rules = [judged[f"rule_{j}"] == 1 for j in range(1, len(normal.inclusion_rules) + 1)]
    meeting = judged.filter(*rules).select("person_id", "event_id") if rules else None
    included = events if meeting is None else cdm.keep(events.semi_join(meeting, ["person_id", "event_id"]))
    limited = apply_result_limit(included, normal.result_limits.expression_limit_type)
    ended = cdm.keep(apply_end_strategy(limited, normal.end_strategy, context))
    censored = apply_censoring(ended, normal.censoring_criteria, normal.censor_window, context)
    made = collapse_events(censored, normal.collapse_settings, normal.censor_window)
    rows = cdm.keep(made.select(subject_id="person_id", cohort_start_date="start_date", cohort_end_date="end_date"))
    for table in {events, included, ended}:
        cdm.forget(table)
    return rows


def _people(judged: Any, rows: Any, rules: int) -> Any:
    """One row per person with an entry event, as `Made.people` has it."""
    import ibis

    names = [f"rule_{j}" for j in range(1, rules + 1)]
    met = [(judged[name] == 1).fill_null(False) for name in names]
    passed = [ibis.ifelse(one, rules, j) for j, one in enumerate(met)]  # rules before the first that is not met
    earliest = [ibis.ifelse(one, j, rules) for j, one in enumerate(met)]
    events = judged.mutate(
        met=sum((one.ifelse(1, 0) for one in met), ibis.literal(0, "int64")),
        passed=(ibis.least(*passed) if passed else ibis.literal(rules)).cast("int64"),
        earliest=ibis.least(*earliest) if earliest else ibis.literal(0),
    )
    order = [events.met.desc(), events.earliest, events.start_date, events.event_id]
    events = events.mutate(
        place=ibis.row_number().over(group_by=events.person_id, order_by=order),
        reached=1 + events.passed.max().over(group_by=events.person_id),
    )
    best = events.filter(events.place == 0).select("person_id", "reached", *names, entry="start_date")
    first = rows.mutate(
        place=ibis.row_number().over(group_by=rows.subject_id, order_by=[rows.cohort_start_date, rows.cohort_end_date])
    )
    first = first.filter(first.place == 0)
    joined = best.left_join(first, best.person_id == first.subject_id)
    return joined.select(
        best.person_id, best.entry, *[best[name] for name in names], start=first.cohort_start_date,
        end=first.cohort_end_date,
        reached=ibis.ifelse(first.cohort_start_date.notnull(), rules + 2, best.reached).cast("int64"),
    )  # fmt: skip


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
        _end_specimen(node)
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


def _end_specimen(node: dict[str, Any]) -> None:
    """Have the event of a specimen end a day after it, as circe-be has it: in circepy 0.3 it ends on its day."""
    specimen = node.get("Specimen")
    if isinstance(specimen, dict):
        adjusted: dict[str, Any] = {"StartWith": "START_DATE", "StartOffset": 0, "EndWith": "END_DATE", "EndOffset": 0}
        adjusted |= specimen.get("DateAdjustment") or {}
        for side in ("Start", "End"):
            if adjusted[f"{side}With"] == "END_DATE":
                adjusted[f"{side}Offset"] += 1
        specimen["DateAdjustment"] = adjusted


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
