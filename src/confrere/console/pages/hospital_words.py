"""What a hospital's pages call things: states, actions, events of the ledger, disclosure classes, kinds of arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from confrere.console.pages.languages import N_, Tongue

STATES: Final[Mapping[str, str]] = {
    "draft": N_("draft"), "submitted": N_("waits for your decision"), "approved": N_("approved"),
    "refused": N_("refused"), "running": N_("running"), "waiting": N_("waits for other hospitals"), "done": N_("done"),
    "paused": N_("paused"), "revoked": N_("revoked"), "expired": N_("expired"),
}  # fmt: skip

EVENTS: Final[Mapping[str, str]] = {
    "began": N_("ledger begun"), "head": N_("signed daily head"), "rotated": N_("key changed"),
    "submitted": N_("study arrived"), "approved": N_("study approved"), "refused": N_("refusal"),
    "paused": N_("study paused"), "resumed": N_("study resumed"), "revoked": N_("study revoked"),
    "expired": N_("study expired"), "approval needed": N_("new approval needed"), "started": N_("run started"),
    "asked": N_("round asked"), "answered": N_("round answered"), "unable": N_("unable to answer"),
    "done": N_("run done"), "policy": N_("rules changed"), "pinned": N_("roster pinned"),
    "signed model": N_("model signed"),
    "opposition recorded": N_("opposition recorded"), "oppositions imported": N_("oppositions imported"),
    "consent needed": N_("consent needed"), "consent not needed": N_("consent no longer needed"),
    "receipt given": N_("receipt given to a patient"), "worklist kept": N_("worklist kept"),
    "worklist shown": N_("worklist shown"), "worklist exported": N_("worklist exported"),
    "worklist status": N_("status on a worklist"), "worklist granted": N_("worklist granted"),
    "worklist withdrawn": N_("worklist withdrawn"), "worklist erased": N_("worklist erased"),
    "worklist rows erased": N_("rows of worklists erased"), "screening log shown": N_("screening log shown"),
    "image added": N_("picture added"), "image quarantined": N_("picture put into quarantine"),
    "quarantine erased": N_("quarantine of pictures erased"),
    "image held": N_("picture held"), "image masked": N_("text painted over in a picture"),
    "image released": N_("picture released"), "image erased": N_("picture erased"),
    "image consent": N_("consent to a picture noted"), "image revoked": N_("consent to a picture revoked"),
    "images extracted": N_("features of pictures extracted"), "case opened": N_("case opened"),
    "case shown": N_("case shown"), "case comment": N_("comment on a case"), "case withdrawn": N_("case withdrawn"),
    "case closed": N_("case closed"), "case erased": N_("case erased"),
    "slide shown": N_("slide shown"), "backed up": N_("backup made"),
    "restored": N_("restored from a backup"), "erased": N_("run erased"), "sign-in": N_("sign-in"),
    "sign-out": N_("sign-out"), "sign-in refused": N_("sign-in refused"), "locked out": N_("address locked out"),
}  # fmt: skip

RISKS: Final[Mapping[str, str]] = {  # as `hospital.gate.CLASSES`
    "fine_times": N_("exact event times of the network leave: who knows a patient's date of death may recognise it"),
    "small_cells": N_("counts of fewer than k people leave: a rare patient may be recognised in a table"),
    "histograms": N_(
        "sums over fine cells, also of time, leave as a tree grows: a person alone in a cell may be read off"
    ),
    "model_weights": N_(
        "the weights of a network leave each round: parts of training records can be rebuilt from them"
    ),
    "per_hospital": N_("a result of this hospital alone leaves, after its steward has seen it"),
}

DIMS: Final[Mapping[str, str]] = {
    "counts": N_("counts"), "terms": N_("terms"), "moments": N_("moments"), "kinds": N_("kinds"),
    "groups": N_("groups"), "cells": N_("cells"), "variables": N_("variables"),
    "groups and levels": N_("groups and levels"), "groups and cells": N_("groups and cells"),
    "blocks and groups": N_("blocks and groups"),
}  # fmt: skip

STATUSES: Final[Mapping[str, str]] = {
    "to see": N_("to see"), "seen": N_("seen"), "not eligible": N_("not eligible"),
    "eligible": N_("eligible after reading"), "contacted": N_("contacted"), "declined": N_("declined"),
    "consented": N_("consented"), "enrolled": N_("enrolled"),
}  # fmt: skip

FUNNEL: Final[Mapping[str, str]] = {  # of a screening log, beside its criteria
    "people": N_("people"), "screened": N_("screened"), "entry event": N_("entry event"),
    "not ruled out": N_("not ruled out"), "meet all criteria": N_("meet all criteria"),
    "recent entry event": N_("recent entry event"), "not cut off by censoring": N_("not cut off by censoring"),
    "few criteria unknown": N_("few criteria unknown"),
    "on the list": N_("on the list"), "seen": N_("seen by a clinician"), "read": N_("read and decided"),
    "found eligible": N_("found eligible"), "contacted": N_("were contacted"), "answered": N_("answered"),
    "consented": N_("have consented"), "enrolled": N_("are enrolled"),
}  # fmt: skip

SAID: Final[Mapping[str, str]] = {"opposed": N_("opposed"), "consented": N_("consented"), "withdrawn": N_("withdrawn")}

REASONS: Final = (  # of `hospital.rules`, whose words are English; a reason that is not here is shown as it is
    (
        r"the study does not state (?P<key>\w+) under \[study\], which `require` asks for",
        N_("the study does not state {key} under [study], which `require` asks for"),
    ),
    (r"the study ended on (?P<day>\S+)", N_("the study ended on {day}")),
    (
        r"it asks for (?P<words>.+), which `allow` does not name; add the word there if you accept what it means",
        N_("it asks for {words}, which `allow` does not name; add the word there if you accept what it means"),
    ),
    (
        r"it asks that sums over the people of this hospital alone may leave, and `alone` does not name "
        r"(?P<study>\S+); add it there if you accept what it means",
        N_(
            "it asks that sums over the people of this hospital alone may leave, and `alone` does not name {study}; "
            "add it there if you accept what it means"
        ),
    ),
    (r"`methods` does not name (?P<names>.+)", N_("`methods` does not name {names}")),
    (
        r"`columns` of the table (?P<table>.+?) does not name (?P<names>.+)",
        N_("`columns` of the table {table} does not name {names}"),
    ),
    (
        r"it asks (?P<many>\d+) questions of similar cases, (?P<before>\d+) were approved before, and `questions` "
        r"allows (?P<most>\d+) in all",
        N_(
            "it asks {many} questions of similar cases, {before} were approved before, and `questions` allows {most} "
            "in all"
        ),
    ),
    (
        r"it may take (?P<rounds>\d+) rounds; `rounds` allows (?P<most>\d+)",
        N_("it may take {rounds} rounds; `rounds` allows {most}"),
    ),
    (
        r"up to (?P<size>[\d.]+) megabytes may leave; `megabytes` allows (?P<most>\S+)",
        N_("up to {size} megabytes may leave; `megabytes` allows {most}"),
    ),
    (
        r"\[tables\] of (?P<hospital>\S+) has no '(?P<table>.+?)'; .*",
        N_("[tables] of {hospital} does not name the table {table}"),
    ),
)


def reason(text: str, tongue: Tongue) -> str:
    """A reason of the hospital's rules in a language; as it is where it is none of them."""
    for pattern, known in REASONS:
        if tongue.lang != "en" and (found := re.fullmatch(pattern, text)):
            return tongue(known, **found.groupdict())
    return text
