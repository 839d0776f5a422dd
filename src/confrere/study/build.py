"""From a study to its analyses: each [[analysis]] becomes the frozen dataclass of its method."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, TypedDict, Unpack, get_type_hints

from confrere.errors import StudyError, UserError
from confrere.rounds import Analysis, Flow, find, installed, name_of, one_by_one, within
from confrere.study.circe import Definition
from confrere.study.cohorts import agreed, few, reads
from confrere.study.cuts import apart
from confrere.study.file import Spec, Study, meant, settings
from confrere.study.ground import LEFT, Ground
from confrere.study.numbers import unlike
from confrere.study.omop import Omop, named
from confrere.study.pooled import with_pooled
from confrere.study.recruitment import Look


def analyses(study: Study) -> list[Analysis]:
    """The analyses of a study, in its order, on its ground. StudyError names the analysis and the key."""
    built = [_analysis(spec, study.ground) for spec in study.analyses]
    _beside(study, built)
    for group in {spec.group for spec in study.analyses}:
        places = [i for i, spec in enumerate(study.analyses) if spec.group == group]
        for i, analysis in zip(places, few([built[i] for i in places]), strict=True):
            built[i] = analysis
    return built


def _beside(study: Study, built: Sequence[Any]) -> None:
    """StudyError where two analyses may not ask the same hospital: they ask others too, or `_against`."""
    for (one, a), (other, b) in combinations(zip(study.analyses, built, strict=True), 2):
        elsewhere = one.group and other.group and not {*one.group} & {*other.group}
        if elsewhere:
            continue
        if {*one.group} != {*other.group}:  # a level of few in the others is judged in neither
            raise StudyError(
                f"[[analysis]] {one.name} and {other.name} ask hospitals that overlap, and of those by which they "
                f"differ a few people could be told by subtraction. Give both the same hospitals, or none in common"
            )
        for why in (*_against(a, b), *(_of_one_method(a, b) if one.method == other.method else ()), *_by_score(a, b)):
            raise StudyError(f"[[analysis]] {one.name} and {other.name}{why}")


def _against(a: Any, b: Any) -> Iterator[str]:
    """Why two analyses of the same hospitals, of whatever method, may not stand in one study: one may have none beside
    it (`sole`), or both count the same people in cells of their own, of one time or of scores."""
    if why := getattr(a, "sole", "") or getattr(b, "sole", ""):
        yield f": {why}"
    (mine, *own), (others, *its) = (getattr(x, "cells_of_time", (frozenset(),)) for x in (a, b))
    if mine & others and own != its:
        yield (
            " have cells of time of their own, as their method, the spelling of their time, whether they look at "
            "losses or causes, or the settings by which they follow people (starts, stops, periods, grace, times), "
            "differ: a few people could be told by subtraction. Give both the same, or make a study of each"
        )


def _of_one_method(a: Any, b: Any) -> Iterator[str]:
    """Why two analyses of one method may not: it is one that a study has `once`, or they follow or hold out others."""
    if hasattr(a, "once"):
        yield f": {b.once}"
    if getattr(a, "contrast", "") != getattr(b, "contrast", ""):
        yield (
            " follow the same people differently: in a cell of time a few could tell them apart. Give both the same "
            "contrast, and the other one to another study"
        )
    if hasattr(a, "holdout") and (a.share, a.share and a.seed) != (b.share, b.share and b.seed):
        yield (" hold out other people: their sums could differ by a few. Give both the same holdout and seed")


def _by_score(*both: Any) -> Iterator[str]:
    """Why two learned models or evaluations may not: whoever is scored is counted in cells that two models, alike but
    for a few people, would tell these by. Of numbers and counts of which nobody is held out there are no such cells."""
    if all(
        hasattr(a, "learnt") or (hasattr(a, "holdout") and (a.share or getattr(a, "goal", a.objective) == "binary"))
        for a in both
    ):
        yield (
            " both count people by cell of a model's score or loss: two models may differ for a few people, whom the "
            "difference would tell. Make a study of each, or give each its own hospitals with group"
        )


def _own(cls: type[Any], ground: Ground) -> Ground:
    """The ground of a method: the target leaves nobody out of one that is about everybody, and only methods that read
    cohorts carry their definitions."""
    names = {f.name for f in dataclasses.fields(cls)} | set(dir(cls))
    whom = tuple(c for c in ground.complete if c != LEFT) if getattr(cls, "everybody", False) else ground.complete
    return dataclasses.replace(ground, complete=whom, cohorts=ground.cohorts if "cohorts" in names else ())


def definitions(built: Sequence[Analysis], name: str = "cohorts") -> list[Definition]:
    """The cohorts that analyses read, each once; those of which they read every stay with `name` = "eras"."""
    return list(dict.fromkeys(d for a in built for d in getattr(a, name, ())))


def _method(spec: Spec) -> type[Any]:
    """The class of a method; parts of methods, whose names start with "_", are none."""
    try:
        return find("" if spec.method.startswith("_") else spec.method)
    except StudyError:
        if spec.method in (known := installed()):
            raise
        raise StudyError(
            f"[[analysis]] {spec.name}: method '{spec.method}' is not known; {meant(spec.method, known)}"
        ) from None


def _analysis(spec: Spec, ground: Ground) -> Analysis:
    cls = _method(spec)
    hints = {f.name: get_type_hints(cls)[f.name] for f in dataclasses.fields(cls) if f.name != "ground"}
    missing = dataclasses.MISSING
    required = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is missing and f.default_factory is missing and f.name in hints
    ]
    given = settings(spec, hints, required)
    try:
        made: Analysis = cls(**given, ground=_own(cls, ground))
        check(made)
        if spec.group and getattr(made, "groups", ()):
            raise StudyError("it has a group, and settings that name groups of its own; leave out one of the two")
    except UserError as error:
        raise type(error)(f"[[analysis]] {spec.name}: {error}", about=error.about) from None
    return made


def check(analysis: Any) -> None:
    """Have an analysis check its settings and formula against its ground, before anything is asked."""
    if hasattr(analysis, "check"):
        analysis.check()


def flow_of(study: Study, built: Sequence[Analysis]) -> Flow[list[Any]]:
    """The one flow of a study: whom it is about, then its analyses after one another, each within its group."""
    flows = [_noted(a) for a in (yield from settled(study, built))]
    named = [within(",".join(s.group), f) if s.group else f for s, f in zip(study.analyses, flows, strict=True)]
    return (yield from one_by_one(named))


def settled(study: Study, built: Sequence[Analysis]) -> Flow[list[Any]]:
    """The analyses once it is known whom each is about, and that nothing of several tells few people apart."""
    found = yield from _compared(study, built)
    for group, places in sorted(_places(study, built).items()):
        yield from within(",".join(group), apart([built[i] for i in places]))
        yield from within(",".join(group), unlike([found[i] for i in places]))
    return found


def _places(study: Study, built: Sequence[Analysis]) -> dict[tuple[str, ...], list[int]]:
    """Which analyses ask a group of hospitals, by the study or by their own settings; () is all hospitals."""
    asked = [{spec.group, *getattr(a, "groups", ())} for spec, a in zip(study.analyses, built, strict=True)]
    return {group: [i for i, own in enumerate(asked) if group in own] for group in set().union(*asked)}


def _compared(study: Study, built: Sequence[Analysis]) -> Flow[list[Any]]:
    """The analyses, of people who are the same or k apart in every group of hospitals that is asked."""
    found, before = list[Any](built), list[Any]()
    while [id(a) for a in found] != [id(a) for a in before]:  # what is joined in one group is looked at in the others
        before = list(found)
        for group, places in sorted(_places(study, built).items()):
            joined = yield from within(",".join(group), agreed([found[i] for i in places]))
            for i, analysis in zip(places, joined, strict=True):
                found[i] = analysis
    return found


def _noted(analysis: Any) -> Flow[Any]:
    """The flow of an analysis, what it standardises asked first; its finding says whom the study leaves out of it."""
    analysis = yield from with_pooled(analysis)
    finding = dataclasses.replace((yield from analysis.flow()), analysis=analysis)
    columns = [c for c in analysis.ground.complete if c != LEFT]
    if getattr(analysis, "everybody", False) and LEFT in analysis.ground.complete:
        columns.insert(0, "the target")
    if not columns:
        return finding
    note = (
        f"People who miss {', '.join(columns)} are left out here too: other analyses of the study leave them out, and "
        f"two results that differ by a few people would show those few."
    )
    return dataclasses.replace(finding, notes=(*finding.notes, note))


def groups_of(study: Study, members: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Members of every group that a study fixes; "" is everybody."""
    groups = {"": tuple(sorted(members))}
    for spec, analysis in zip(study.analyses, analyses(study), strict=True):
        for group in (spec.group, *getattr(analysis, "groups", ())):  # those that a method compares are fixed as well
            if strange := set(group) - set(members):
                raise StudyError(
                    f"[[analysis]] {spec.name}: group names {sorted(strange)}, who are not hospitals of this run"
                )
            if group:
                groups[",".join(group)] = group
    return groups


def parts_of(built: Sequence[Analysis]) -> frozenset[str]:
    """Names of the groups that analyses ask besides others with the same people."""
    return frozenset(",".join(group) for analysis in built for group in getattr(analysis, "nested", ()))


def asked_of(study: Study, built: Sequence[Analysis], members: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The groups of hospitals whose sums the analyses of a study ask."""
    own = {group for analysis in built for group in getattr(analysis, "groups", ())}
    return {spec.group or members for spec in study.analyses} | own


def columns_of(built: Sequence[Analysis]) -> list[str]:
    """The columns that a study reads."""
    return sorted({c for a in built for c in reads(a)})


def looks_of(built: Sequence[Any]) -> list[Look]:
    """What a study asks of the lists of earlier ones."""
    return list(dict.fromkeys(look for a in built for look in getattr(a, "looks", ())))


def sourced(built: Sequence[Analysis]) -> list[str]:
    """The columns that a study reads of the source: all but statuses, which each hospital adds from its own lists."""
    return sorted(set(columns_of(built)) - {look.column for look in looks_of(built)})


def grounded(analysis: Any, ground: Ground, allow: Sequence[str]) -> Ground:
    """The ground of an analysis: its own, or else this one."""
    own: Ground = analysis.ground if analysis.ground != Ground() else ground
    return dataclasses.replace(own, fine=own.fine or "fine_times" in allow)


def shortest(study: Study) -> Study:
    """The study without the settings that its methods have anyway: what a person would write."""

    def short(spec: Spec) -> Spec:
        defaults = {f.name: f.default for f in dataclasses.fields(find(spec.method))}
        said = {key: value for key, value in spec.settings.items() if value != defaults.get(key, dataclasses.MISSING)}
        return dataclasses.replace(spec, settings=said)

    return dataclasses.replace(study, analyses=tuple(short(spec) for spec in study.analyses))


class Disclosure(TypedDict, total=False):
    """What an analysis from Python asks of the stewards, as [disclosure] of a study file has it: disclosure classes,
    members whose own sums may leave, the fewest people behind a number."""

    allow: Sequence[str]
    alone: Sequence[str]
    k: int


def single(analysis: Any, ground: Ground, **disclosure: Unpack[Disclosure]) -> Study:
    """A study of one analysis, as Python users run it. StudyError for another word than those of [disclosure]."""
    words = _worded(disclosure)
    fields = {f.name: getattr(analysis, f.name) for f in dataclasses.fields(analysis) if f.name != "ground"}
    method = name_of(analysis)
    spec = Spec(method, method, (), fields)
    omop = named(ground.cohorts) if ground.cohorts else None
    return Study(
        id=method, title=method, purpose="an analysis run from Python", table="people", analyses=(spec,),
        person=ground.person or None, time_unit=ground.unit, time_step=ground.step, horizon=ground.horizon,
        schema=omop.declared(ground.schema) if omop else ground.schema, omop=omop,
        allow=tuple(sorted({*words.get("allow", ()), *(["fine_times"] if ground.fine else [])})),
        alone=tuple(sorted(set(words.get("alone", ())))), k=words.get("k", 11),
        bags=tuple(filter(None, [getattr(analysis, "bags", "")])),
    )  # fmt: skip


def _worded(disclosure: Disclosure) -> Disclosure:
    known = tuple(get_type_hints(Disclosure))
    if strange := next((word for word in disclosure if word not in known), ""):
        raise StudyError(f"{strange!r} is no word about what leaves; {meant(strange, known)}")
    if lone := next((word for word in ("allow", "alone") if isinstance(disclosure.get(word), str)), ""):
        raise StudyError(f"{lone} is {disclosure.get(lone)!r}; give a list, [{disclosure.get(lone)!r}]")
    return disclosure


def recorded(study: Study, omop: Omop | None) -> Study:
    """The study, where sources are OMOP records: with what people are made of there; as it is without that."""
    return study if omop is None else dataclasses.replace(study, omop=omop, schema=omop.declared(study.schema))
