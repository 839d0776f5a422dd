"""The rules of a hospital, read from hospital.toml: each with what it means and what a change would do."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from confrere.console.pages.frame import page, tongue_of
from confrere.console.pages.guard import require
from confrere.console.pages.hospital_folder import Here
from confrere.console.pages.hospital_words import RISKS, STATES, reason
from confrere.console.pages.languages import N_, Tongue
from confrere.console.pages.tables import Column, Table, downloaded
from confrere.study.life import ANSWERED

router = APIRouter()
RULES: Final[dict[str, tuple[str, str]]] = {  # of `hospital.rules.Rules`: what it means, what a change would do
    "k": (
        N_("People behind every number that leaves, over the whole network. A study may ask for more, never for less."),
        N_("A larger number hides more small groups; 11 is the least that can be set."),
    ),
    "methods": (
        N_("The statistical methods that may be asked. A method that is not named is refused."),
        N_("Striking a method out stops every study that uses it before its next start."),
    ),
    "columns": (
        N_("What studies may read of each table. A column that is not named is never read."),
        N_("Striking a column out stops every study that reads it. Naming one lets future studies ask for it."),
    ),
    "allow": (
        N_("Disclosure classes that studies may ask for. Each still needs your yes to the study that asks."),
        N_("Adding a word accepts its risk for studies that you approve afterwards."),
    ),
    "alone": (
        N_(
            "Hashes of studies under which sums over this member's people alone may leave: a trial's sponsor names "
            "its trial."
        ),
        N_(
            "Naming a study shows its results for your people alone to whoever sees the study's. It exposes "
            "no other hospital."
        ),
    ),
    "parameters": (
        N_("Columns of a model per person, at most. Models with many columns on few people can give rows away."),
        N_("A smaller number refuses larger models on few people."),
    ),
    "rounds": (
        N_("Rounds of one study, at most."),
        N_("A smaller number refuses long studies; one under way stops there."),
    ),
    "megabytes": (
        N_("What may leave under one study, in megabytes."),
        N_("A smaller number refuses large studies; one under way stops there."),
    ),
    "hours": (
        N_("When asks are answered, in local time. Without it, always."),
        N_("Outside these hours runs wait, and go on by themselves."),
    ),
    "scope": (
        N_("network: the rule of k holds for the sum of all hospitals. own: for this hospital's part of it too."),
        N_("With own, studies of rare conditions may find too few people here."),
    ),
    "require": (
        N_("What a study must state: its legal basis, who reads the findings, its last day."),
        N_("A study that does not state it is refused."),
    ),
    "worklist_days": (
        N_("Days after which the rows of a worklist are erased."),
        N_("It holds for lists that are made afterwards."),
    ),
    "questions": (
        N_("How many questions of similar cases are answered, of all studies together."),
        N_("Every question tells a little about who is near to it. What was approved counts, also if it was revoked."),
    ),
}


@router.get("/policy", dependencies=[require("steward")])
def policy(request: Request, here: Here) -> Response:
    """The rules, and the studies with a yes that they would not answer."""
    _, home = tongue_of(request), here.home
    changes = [
        {
            "study": listed.title, "path": f"/studies/{listed.study}", "state": _(STATES[listed.state]),
            "why": "; ".join(reason(text, _) for text in why),
        }
        for listed in here.studies()
        if listed.state in ANSWERED and (why := here.against(listed))
    ]  # fmt: skip
    columns = (Column("study", _("Study"), link="path"), Column("state", _("State")), Column("why", _("Why not")))
    stopped = Table(
        "stopped", _("Approved studies that these rules do not answer"), columns, changes,
        _("Every approved study is answered under these rules."),
    )  # fmt: skip
    rules = [(key, _value(value, _), *RULES[key]) for key, value in home.rules.to_dict().items()]
    return downloaded(request, stopped) or page(
        request, "hospital_rules.html", rules=rules, risks=RISKS, allow=home.rules.allow, fault=here.fault,
        file=str(home.path / "hospital.toml"), stopped=stopped,
    )  # fmt: skip


def _value(value: Any, _: Tongue) -> list[str]:
    """A rule's value, as lines."""
    if isinstance(value, dict):
        return [f"{table}: {', '.join(names)}" for table, names in value.items()] or [_("none")]
    if isinstance(value, list):
        return [", ".join(value)] if value else [_("none")]
    if isinstance(value, int | float):
        return [_.numbers.short(float(value), 4)]
    return [str(value)] if value else [_("not set")]
