"""[policy] of hospital.toml: deny by default, the strictest wins, every reason in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

import pytest

from confrere.errors import StudyError
from confrere.hospital.manifest import manifest
from confrere.hospital.rules import Rules
from confrere.rounds import installed
from confrere.study.file import Study, parse
from confrere.study.write import written

TODAY = date(2026, 11, 22)
TEXT = """
[study]
id = "s"
purpose = "public-interest research"
[data]
table = "breast"
[[analysis]]
name = "a"
method = "cox"
formula = "Surv(rtime, recur) ~ hormon + age"
"""
OPEN = Rules(methods=("cox",), columns={"breast": ("age", "hormon", "recur", "rtime")})


def why(rules: Rules, study: Study | None = None) -> str:
    study = study or parse(TEXT)
    return "; ".join(rules.against(study, manifest(study), TODAY))


def test_an_empty_policy_denies_every_method_and_every_column() -> None:
    assert why(OPEN) == ""
    said = why(Rules())
    assert "`methods` does not name cox" in said
    assert "`columns` of the table breast does not name age, hormon, recur, rtime" in said


@pytest.mark.parametrize("method", installed())
def test_no_method_is_allowed_without_its_name(method: str) -> None:
    study = parse(TEXT)
    study = replace(study, analyses=(replace(study.analyses[0], method=method),))
    listed = manifest(parse(TEXT))
    assert any(method in reason for reason in Rules().against(study, listed, TODAY))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"columns": {"breast": ("age",)}}, "does not name hormon, recur, rtime"),
        ({"columns": {"other": ("*",)}}, "does not name age"),
        ({"rounds": 3}, "`rounds` allows 3"),
        ({"megabytes": 0.001}, "`megabytes` allows 0.001"),
        ({"require": ("legal_basis", "ends")}, "does not state ends"),
    ],
)
def test_each_rule_says_why(change: dict[str, Any], says: str) -> None:
    assert says in why(replace(OPEN, **change))
    assert why(replace(OPEN, columns={"breast": ("*",)})) == ""


def test_what_a_study_states_is_enough_and_its_end_holds() -> None:
    stated = TEXT.replace("[data]", 'legal_basis = "MR-004 2026-1"\nends = 2026-11-21\n[data]')
    said = why(replace(OPEN, require=("legal_basis", "ends")), parse(stated))
    assert said == "the study ended on 2026-11-21"


def test_a_disclosure_class_needs_the_word() -> None:
    study = parse(TEXT + '[disclosure]\nallow = ["fine_times"]\n')
    assert "fine_times, which `allow` does not name" in why(OPEN, study)
    assert why(replace(OPEN, allow=("fine_times",)), study) == ""


def test_sums_of_one_member_alone_need_two_words_and_open_no_other() -> None:
    """The study names the member, the member's rules name the study; any other member is as it was."""
    study = parse(TEXT + '[disclosure]\nalone = ["acme"]\n')
    consents = replace(OPEN, alone=(study.hash,))
    assert f"`alone` does not name {study.hash}" in "; ".join(OPEN.against(study, manifest(study), TODAY, "acme"))
    assert consents.against(study, manifest(study), TODAY, "acme") == []
    assert OPEN.against(study, manifest(study), TODAY, "lyon") == []
    assert consents.gate(study, "acme").alone
    assert not consents.gate(study, "lyon").alone  # whom the study does not name
    assert not OPEN.gate(study, "acme").alone
    assert not consents.gate(parse(TEXT), "acme").alone
    assert study.hash != parse(TEXT).hash
    assert parse(written(study)) == study


def test_another_text_of_the_same_id_has_no_consent() -> None:
    """A consent is to the study that was read: not to one that asks for more under its id, nor to an id."""
    study = parse(TEXT + '[disclosure]\nalone = ["acme"]\n')
    other = parse(TEXT + '[disclosure]\nalone = ["acme"]\nk = 12\n')
    assert other.id == study.id
    consents = replace(OPEN, alone=(study.hash,))
    assert not consents.gate(other, "acme").alone
    assert other.hash in "; ".join(consents.against(other, manifest(other), TODAY, "acme"))
    with pytest.raises(StudyError, match="'s' is no hash of a study"):
        Rules.of({"alone": ["s"]}, "hospital.toml")


def test_the_stricter_of_study_and_hospital_reaches_the_gate() -> None:
    asks = parse(TEXT + '[disclosure]\nallow = ["fine_times"]\nk = 20\n')
    gate = replace(OPEN, k=15, allow=("small_cells",), scope="own").gate(asks)
    assert (gate.k, gate.allow, gate.own) == (20, frozenset(), True)
    assert replace(OPEN, k=30).gate(asks).k == 30


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"k": 5}, "must be 11 or more"),
        ({"k": "11"}, "wrong type"),
        ({"method": ["cox"]}, "did you mean 'methods'"),
        ({"allow": ["fine_time"]}, "did you mean 'fine_times'"),
        ({"require": ["basis"]}, "nothing that a study states"),
        ({"scope": "site"}, "'network' or 'own'"),
        ({"hours": "always"}, "Mon-Fri 07:00-20:00"),
        ({"hours": "Fri-Mon 07:00-20:00"}, "Mon-Fri 07:00-20:00"),
        ({"hours": "Mon-Fri 20:00-07:00"}, "Mon-Fri 07:00-20:00"),
        ({"parameters": 0.0}, "at most 1 per person"),
        ({"rounds": 0}, "above 0"),
        ({"columns": ["age"]}, "wrong type"),
    ],
)
def test_a_wrong_rule_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(StudyError, match=says):
        Rules.of(given, "hospital.toml")


@pytest.mark.parametrize(
    ("hours", "when", "expected"),
    [
        ("", "2026-11-22T03:00", True),
        ("07:00-20:00", "2026-11-22T07:00", True),
        ("07:00-20:00", "2026-11-22T20:00", False),
        ("Mon-Fri 07:00-20:00", "2026-11-22T12:00", False),  # a Sunday
        ("Mon-Fri 07:00-20:00", "2026-11-23T12:00", True),
        ("Sun 00:00-24:00", "2026-11-22T23:59", True),
    ],
)
def test_hours(hours: str, when: str, expected: bool) -> None:
    assert Rules.of({"hours": hours}, "").open(datetime.fromisoformat(when)) is expected


def test_the_digest_changes_with_any_rule() -> None:
    assert OPEN.digest == replace(OPEN).digest
    changes: list[dict[str, Any]] = [{"k": 12}, {"methods": ()}, {"hours": "07:00-08:00"}, {"columns": {}}]
    assert len({OPEN.digest, *(replace(OPEN, **c).digest for c in changes)}) == 5
