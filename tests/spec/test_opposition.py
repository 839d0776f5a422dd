"""The register of oppositions: what holds, lists and FHIR, the query that leaves people out, receipts, the command."""

import json
import sqlite3
import stat
from collections.abc import Iterator
from datetime import date, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from confrere.data.fhir_consent import Terms
from confrere.data.opposition import Register, Said, Use, patients
from confrere.data.opposition_files import Imported, load
from confrere.data.sources import Source, read
from confrere.data.without import Without
from confrere.errors import ConfrereError, DataError, Refused
from confrere.study.schema import Column, Schema

RESEARCH = "Public-interest research"
IDS = [f"p{i}" for i in range(40)]


def today() -> str:
    """The day on which a test runs, also after midnight."""
    return date.today().isoformat()


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    made = Register(tmp_path / "oppositions.sqlite")
    yield made
    made.close()


def opposed(person: str, purpose: str = "*", day: str = "2026-01-01", status: str = "opposed") -> Said:
    return Said(person, purpose, status, day, "letter")


# --- what holds ------------------------------------------------------------------------------------------


def test_an_opposition_holds_for_its_purpose_whatever_the_case(register: Register) -> None:
    register.add([opposed("p1"), opposed("p2", "PUBLIC-interest  research"), opposed("p3", "marketing")])
    assert register.left_out(RESEARCH, IDS) == {"p1", "p2"}
    assert register.left_out("marketing", IDS) == {"p1", "p3"}
    assert register.left_out(RESEARCH, ["p2", "p9"]) == {"p2"}


def test_the_last_word_holds_by_day_and_nothing_is_deleted(register: Register) -> None:
    register.add([opposed("p1", day="2026-03-01", status="withdrawn"), opposed("p1", day="2026-02-01")])
    assert register.left_out(RESEARCH, IDS) == frozenset()
    register.say(opposed("p1", day="2026-03-01"))
    assert register.left_out(RESEARCH, IDS) == {"p1"}
    register.withdraw("p1", "*", "desk")
    assert register.left_out(RESEARCH, IDS) == frozenset()
    assert [line.status for line in register.history("p1")] == ["opposed", "withdrawn", "opposed", "withdrawn"]
    register.say(opposed("p1", day=today()))  # on the same day, for the second time
    register.withdraw("p1", "*", "desk")
    register.say(opposed("p1", day=today()))
    assert register.left_out(RESEARCH, IDS) == {"p1"}


def test_an_opposition_to_all_is_lifted_by_nothing_less(register: Register) -> None:
    register.add([opposed("p1"), opposed("p1", RESEARCH, "2026-02-01", "consented")])
    assert register.left_out(RESEARCH, IDS) == {"p1"}
    with pytest.raises(DataError, match="nothing of this person stands on the purpose 'x'; what stands is on "):
        register.withdraw("p1", "x", "desk")
    register.withdraw("p1", "*", "desk")
    assert register.left_out(RESEARCH, IDS) == frozenset()
    with pytest.raises(DataError, match="nothing of this person stands"):
        register.withdraw("p1", "*", "desk")


def test_where_consent_is_needed_everybody_without_one_is_left_out(register: Register) -> None:
    yesterday = (date.today() - timedelta(days=1)).isoformat()
    register.add(
        [
            opposed("p1", RESEARCH, status="consented"),
            opposed("p2", "*", status="consented"),
            opposed("p3", "*", status="consented")._replace(until=yesterday),
            opposed("p4", "*", status="consented")._replace(until=today()),
            opposed("p5", "*", status="consented"),
            opposed("p5", RESEARCH),
        ]
    )
    assert register.left_out(RESEARCH, IDS) == {"p5"}
    register.need_consent(RESEARCH.upper())
    assert set(IDS) - register.left_out(RESEARCH, IDS) == {"p1", "p2", "p4"}
    assert register.left_out("marketing", IDS) == frozenset()
    register.need_consent(RESEARCH, needed=False)
    assert register.left_out(RESEARCH, IDS) == {"p5"}
    register.need_consent("*")
    assert set(IDS) - register.left_out("marketing", IDS) == {"p2", "p4", "p5"}


def test_a_consent_that_is_over_brings_back_what_was_said_before(register: Register) -> None:
    register.add([opposed("p1"), opposed("p1", day="2026-02-01", status="consented")._replace(until="2026-03-01")])
    assert register.left_out(RESEARCH, IDS) == {"p1"}


def test_the_digest_changes_exactly_with_who_is_left_out(register: Register) -> None:
    def digests() -> tuple[str, str]:
        return register.digest(RESEARCH), register.digest("marketing")

    start = digests()
    register.add([opposed("p1", RESEARCH)])
    first = digests()
    assert first[0] != start[0]
    assert first[1] == start[1]
    register.add([opposed("p1", RESEARCH, "2026-02-01")])  # says the same again
    register.add([opposed("p2", RESEARCH, status="consented")])  # no consent is needed
    assert digests() == first
    register.withdraw("p1", RESEARCH, "desk")
    assert digests() == start
    register.need_consent("marketing")
    assert digests()[1] != start[1]
    assert digests()[0] == start[0]


def test_another_process_sees_an_opposition_at_once(register: Register) -> None:
    before = register.digest(RESEARCH)
    other = Register(register.path)
    other.add([opposed("p1")])
    other.close()
    assert register.digest(RESEARCH) != before
    assert register.left_out(RESEARCH, IDS) == {"p1"}


def _opposes(path: Path, first: int) -> None:
    made = Register(path)
    for i in range(20):
        made.say(opposed(f"{first}-{i}"))
    made.close()


def test_many_processes_write_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    workers = [get_context("spawn").Process(target=_opposes, args=(path, i)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    made = Register(path)
    assert len(made.history()) == 60
    made.close()


def test_the_file_is_its_owners_and_keeps_no_plain_id_of_those_answered(register: Register) -> None:
    register.answered("breast", RESEARCH, ["secret-patient", *IDS], 11)
    assert stat.S_IMODE(register.path.stat().st_mode) == 0o600
    assert b"secret-patient" not in register.path.read_bytes()


def test_what_cannot_be_written_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No such file|unable to open"):
        Register(tmp_path / "nowhere" / "r.sqlite")
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at " * 40)
    with pytest.raises(OSError, match="damaged: file is not a database; restore it"):
        Register(tmp_path / "text")


def test_a_full_disk_is_an_oserror_and_leaves_nothing_half(register: Register) -> None:
    (pages,) = register._db.execute("PRAGMA page_count").fetchone()
    register._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OSError, match="cannot be used: database or disk is full"):
        register.add([opposed(f"patient {i}") for i in range(5000)])
    assert register.history() == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (opposed(" "), "person is empty"),
        (opposed("p1", " "), r'purpose is empty; .*"\*" for every purpose'),
        (opposed("p1", status="no"), "status 'no' is not known; it is one of opposed, consented, withdrawn"),
        (opposed("p1", day="31/01/2026"), "date '31/01/2026' is no date; write year-month-day"),
        (opposed("p1", day="2999-01-01"), "date '2999-01-01' is in the future"),
        (opposed("p1")._replace(source=""), "source is empty"),
    ],
)
def test_what_cannot_be_recorded(register: Register, line: Said, message: str) -> None:
    with pytest.raises(DataError, match=message):
        register.add([opposed("p2"), line])
    assert register.history() == []


def test_a_word_before_the_last_one_is_no_last_word(register: Register) -> None:
    register.say(opposed("p1", day="2026-02-01"))
    with pytest.raises(DataError, match="a word of 2026-02-01, later than 2026-01-01; give a later date"):
        register.say(opposed("p1", day="2026-01-01", status="consented"))


# --- lists -----------------------------------------------------------------------------------------------

CSV = """person,purpose,date,source,status
p1,*,2026-01-01,letter,opposed
p2,Public-interest research,2026-01-02,portal,Opposed
p3,*,2026-01-03T10:00:00+01:00,letter,consented
"""


def listed(tmp_path: Path, text: str, name: str = "list.csv") -> Source:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return Source(tmp_path / name)


def test_a_list_is_imported_once(register: Register, tmp_path: Path) -> None:
    source = listed(tmp_path, CSV)
    assert load(register, source) == Imported(3, 0, 0, (), None)
    assert register.left_out(RESEARCH, IDS) == {"p1", "p2"}
    digest, history = register.digest(RESEARCH), register.history()
    assert load(register, source) == Imported(0, 3, 0, (), None)
    assert (register.digest(RESEARCH), register.history()) == (digest, history)
    register.withdraw("p1", "*", "desk")
    load(register, source)  # an old list does not undo what was said after it
    assert register.left_out(RESEARCH, IDS) == {"p2"}


def test_the_order_of_lines_does_not_matter_but_that_of_days(register: Register, tmp_path: Path) -> None:
    head, *lines = CSV.replace("p3,*", "p1,*").splitlines()
    load(register, listed(tmp_path, "\n".join([head, *reversed(lines)])))
    assert register.left_out(RESEARCH, IDS) == {"p2"}


BAD = (
    ("p4,*,01.02.2026,letter,opposed", "is no date"),
    ("p5,*,2026-01-01,letter", "4 values for 5 columns"),
    ('p6,"*,2026-01-01,letter,opposed', "a quotation mark is not closed"),
    (",*,2026-01-01,letter,opposed", "person is empty"),
    ("p7,*,2026-01-01,letter,nein", "status 'nein' is not known"),
)


def test_lines_that_cannot_be_read_are_told_and_kept(register: Register, tmp_path: Path) -> None:
    head, *good = CSV.splitlines()
    source = listed(tmp_path, "\n".join([head, *(line for line, _ in BAD), *good]) + "\n")
    done = load(register, source)
    assert done.new == 3
    assert [p.split(":")[0] for p in done.problems] == [f"line {i}" for i in range(2, 7)]
    for problem, (_, message) in zip(done.problems, BAD, strict=True):
        assert message in problem
        assert not any(f"p{i}" in problem for i in range(4, 8))
    assert done.quarantine == tmp_path / "list.quarantine.csv"
    assert done.quarantine.read_text().splitlines() == [head, *(line for line, _ in BAD)]
    assert load(register, source).quarantine == done.quarantine  # the same list makes no second file
    done.quarantine.write_text(f"{head}\np4,*,2026-02-01,letter,opposed\n")
    assert load(register, Source(done.quarantine)).new == 1
    assert load(register, source).quarantine == tmp_path / "list.quarantine2.csv"  # nothing is overwritten


def test_a_list_that_is_none_changes_nothing(register: Register, tmp_path: Path) -> None:
    for text, message in [
        ("", "the first line must name person, purpose, date, source, status"),
        ("person,date\n1,2\n", "see purpose, source, status"),
        (CSV.replace("source", "person"), "see person, source"),
    ]:
        with pytest.raises(DataError, match=message):
            load(register, listed(tmp_path, text))
    (tmp_path / "latin.csv").write_bytes(CSV.replace("letter", "é").encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8; convert it: iconv"):
        load(register, Source(tmp_path / "latin.csv"))
    with pytest.raises(DataError, match="there is no such file"):
        load(register, Source(tmp_path / "none.csv"))
    assert register.history() == []


def test_lists_of_other_kinds(register: Register, tmp_path: Path) -> None:
    import duckdb

    load(register, listed(tmp_path, "\ufeff" + CSV.replace(",", ";")))
    assert len(register.history()) == 3
    frame = pd.DataFrame(
        {
            "person": [11, 12],
            "purpose": "*",
            "date": pd.Timestamp("2026-01-01"),
            "source": "portal",
            "status": "opposed",
        }
    )
    frame.to_parquet(tmp_path / "list.parquet")
    assert load(register, Source(tmp_path / "list.parquet")).new == 2
    frame.loc[1, "status"] = None
    with duckdb.connect(str(tmp_path / "list.duckdb")) as connection:
        connection.register("frame", frame.assign(person=[13, 14]))
        connection.execute("create table a as select * from frame")
        connection.execute("create table b as select 1 as x")
    done = load(register, Source(tmp_path / "list.duckdb", table="a"))
    assert done.new == 1
    assert "row 2: status '' is not known" in done.problems[0]
    assert done.quarantine is not None
    assert "14,*,2026-01-01 00:00:00,portal," in done.quarantine.read_text()
    assert register.left_out(RESEARCH, ["11", "12", "13", "14"]) == {"11", "12", "13"}


# --- FHIR ------------------------------------------------------------------------------------------------


def fhir(who: str = "p1", kind: str = "deny", **changes: Any) -> dict[str, Any]:
    """A Consent of FHIR R4, as the specification's own examples are written."""
    return {
        "resourceType": "Consent",
        "id": f"c-{who}",
        "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{who}"},
        "dateTime": "2026-01-05T09:30:00+01:00",
        "provision": {"type": kind},
    } | changes


def purposes(*codes: str) -> list[dict[str, str]]:
    return [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": c} for c in codes]


def loaded(register: Register, tmp_path: Path, *resources: Any, terms: Terms | None = None) -> Imported:
    text = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in resources)
    return load(register, listed(tmp_path, text, "consents.ndjson"), terms)


def test_fhir_denials_and_permits(register: Register, tmp_path: Path) -> None:
    done = loaded(register, tmp_path, fhir("p1"), fhir("p2", "permit"), fhir("p3", status="draft"))
    assert (done.new, done.silent, done.problems) == (2, 1, ())
    assert register.left_out(RESEARCH, IDS) == {"p1"}
    assert register.history("p1") == [Said("p1", "*", "opposed", "2026-01-05T08:30:00", "FHIR Consent/c-p1")]
    register.need_consent(RESEARCH)
    assert set(IDS) - register.left_out(RESEARCH, IDS) == {"p2"}


def test_a_fhir_resource_that_is_over_ends_its_own_word_alone(register: Register, tmp_path: Path) -> None:
    register.add([opposed("p2")])
    loaded(register, tmp_path, fhir("p1"), fhir("p2", "permit"))
    assert register.left_out(RESEARCH, IDS) == {"p1"}
    loaded(register, tmp_path, fhir("p1", status="inactive"), fhir("p2", "permit", status="entered-in-error"))
    assert register.left_out(RESEARCH, IDS) == {"p2"}


def test_a_rejected_permit_is_an_opposition(register: Register, tmp_path: Path) -> None:
    done = loaded(register, tmp_path, fhir("p1", "permit", status="rejected"), fhir("p2", status="rejected"))
    assert register.left_out(RESEARCH, IDS) == {"p1"}
    assert "a rejected denial says neither yes nor no" in done.problems[0]


def test_purposes_of_fhir_never_leave_out_too_little(register: Register, tmp_path: Path) -> None:
    terms = Terms({"HRESCH": RESEARCH, "marketing": "letters"})
    loaded(
        register, tmp_path,
        fhir("p1", provision={"type": "deny", "purpose": purposes("HRESCH")}),
        fhir("p2", provision={"type": "deny", "purpose": purposes("CLINTRCH")}),
        fhir("p3", provision={"type": "permit", "purpose": purposes("CLINTRCH")}),
        fhir("p4", provision={"type": "deny", "purpose": [{"code": "X", "display": "Marketing"}]}),
        terms=terms,
    )  # fmt: skip
    assert {(w.person, w.purpose) for w in register.last()} == {
        ("p1", RESEARCH.casefold()), ("p2", "*"), ("p3", "clintrch"), ("p4", "letters"),
    }  # fmt: skip


def test_exceptions_parts_and_periods(register: Register, tmp_path: Path) -> None:
    nested = {"type": "permit", "provision": [{"type": "deny", "purpose": purposes("HRESCH")}]}
    part = {"type": "permit", "class": [{"code": "Observation"}]}
    ends = {"type": "permit", "period": {"start": "2020-01-01", "end": "2021-01-01"}}
    done = loaded(
        register, tmp_path,
        fhir("p1", provision=nested), fhir("p2", provision=part), fhir("p3", provision=part | {"type": "deny"}),
        fhir("p4", provision=ends), fhir("p5", provision=ends | {"type": "deny"}),
        fhir("p6", provision={"type": "permit", "period": {"start": "2999-01-01"}}),
        fhir("p7", provision=None, policyRule={"coding": [{"code": "OPTOUT"}]}),
        terms=Terms({"HRESCH": RESEARCH}),
    )  # fmt: skip
    assert register.left_out(RESEARCH, IDS) == {"p1", "p3", "p5", "p7"}
    register.need_consent("letters")
    assert set(IDS) - register.left_out("letters", IDS) == {"p1"}
    assert ["holds for a part only (class)" in p or "has not begun" in p for p in done.problems] == [True, True]


def test_bundles_and_identifiers(register: Register, tmp_path: Path) -> None:
    system = "urn:oid:1.2.3"
    known = {"resourceType": "Patient", "id": "77", "identifier": [{"system": system, "value": "p1"}]}
    direct = fhir("78") | {"patient": {"identifier": {"system": system, "value": "p2"}}}
    bundle = {"resourceType": "Bundle", "entry": [{"resource": r} for r in (known, fhir("77"), direct, fhir("79"))]}
    done = load(register, listed(tmp_path, json.dumps(bundle), "b.json"), Terms(identifier=system))
    assert register.left_out(RESEARCH, IDS) == {"p1", "p2"}
    assert "resource 3: the patient has no identifier of urn:oid:1.2.3" in done.problems[0]
    load(
        register,
        listed(tmp_path, json.dumps(fhir("x") | {"patient": {"reference": "http://h/fhir/Patient/p9/"}}), "c.json"),
    )
    assert "p9" in register.left_out(RESEARCH, IDS)


@pytest.mark.parametrize(
    "bad",
    [
        fhir("p2", "maybe"), fhir("p2", provision={}), fhir("p2", dateTime=None), fhir("p2", dateTime="soon"),
        fhir("p2", patient={}), fhir("p2", patient=3), fhir("p2", status="other"), fhir("p2", provision=[1]),
        fhir("p2", provision={"type": "deny", "purpose": [{}]}), "{", "3",
    ],
)  # fmt: skip
def test_resources_that_cannot_be_read_are_kept(register: Register, tmp_path: Path, bad: Any) -> None:
    done = loaded(register, tmp_path, fhir("p1"), bad)
    assert done.new == 1
    assert done.problems[0].startswith("resource 2: ")
    assert done.quarantine is not None
    assert done.quarantine.read_text().strip() == (bad if isinstance(bad, str) else json.dumps(bad))


def test_files_without_a_consent(register: Register, tmp_path: Path) -> None:
    for text, message in [("{", "no JSON"), ('{"resourceType": "Patient"}', "no Consent resource")]:
        with pytest.raises(DataError, match=message):
            load(register, listed(tmp_path, text, "x.json"))


# --- the query -------------------------------------------------------------------------------------------

SCHEMA = Schema({"size": Column("size", ("small", "large"))})


def people(n: int = 3000) -> pd.DataFrame:
    frame = pd.DataFrame({"pid": [f"{i:05d}" for i in range(n)], "age": np.arange(n) % 90 + 0.5, "size": "small"})
    frame.loc[7, "age"], frame.loc[11, "pid"] = 1e9, None
    return frame


def every_kind(frame: pd.DataFrame, folder: Path) -> dict[str, Any]:
    import duckdb

    frame.assign(pid="  " + frame["pid"] + " ").to_csv(folder / "t.csv", index=False)
    frame.to_parquet(folder / "t.parquet", row_group_size=500)
    with duckdb.connect(str(folder / "t.duckdb")) as connection:
        connection.register("frame", frame)
        connection.execute("create table t as select * from frame")
    return {"frame": frame, **{k: Source(folder / f"t.{k}", person="pid") for k in ("csv", "parquet", "duckdb")}}


@pytest.mark.parametrize("kind", ["csv", "parquet", "duckdb", "frame"])
@pytest.mark.parametrize("person", [None, "pid"])
def test_people_are_left_out_by_the_query_as_if_they_were_not_there(
    kind: str, person: str | None, tmp_path: Path
) -> None:
    frame = people()
    out = {f"{i:05d}" for i in range(0, 3000, 7)} | {"elsewhere"}
    rest = tmp_path / "rest"
    rest.mkdir()
    source = every_kind(frame, tmp_path)[kind]
    twin = every_kind(frame[~frame["pid"].isin(out)].reset_index(drop=True), rest)[kind]
    one = read(Without(source, "pid", out), ["age", "size"], SCHEMA, person)
    other = read(Without(twin, "pid", ()), ["age", "size"], SCHEMA, person)
    pd.testing.assert_frame_equal(one.frame, other.frame)
    counts = ("n_read", "left_out", "clamped")
    assert [getattr(one, c) for c in counts] == [getattr(other, c) for c in counts]
    assert one.left_out == {"no person id in column 'pid'": 1}
    assert "429" not in repr(one) + one.source


def test_what_is_wrong_with_those_who_are_left_out_is_no_matter(tmp_path: Path) -> None:
    frame = people(50).astype({"age": object})
    frame.loc[3, "age"], frame.loc[4, "size"], frame.loc[5, "pid"] = "old", "huge", "00006"
    frame = frame.drop(index=7).dropna()
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="holds text in 1 row"):
        read(tmp_path / "t.csv", ["age", "size"], SCHEMA, "pid")
    table = read(Without(tmp_path / "t.csv", "pid", {"00003", "00004", "00006"}), ["age", "size"], SCHEMA, "pid")
    assert len(table.frame) == 50 - 6


def test_numbers_are_ids_as_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"pid": [1.0, 2.0, 3.0, None], "age": 5.0})
    frame.to_parquet(tmp_path / "t.parquet")
    assert patients(Source(tmp_path / "t.parquet", person="pid")) == ["1", "2", "3"]
    for source in (frame, tmp_path / "t.parquet"):
        assert len(read(Without(source, "pid", {"2"}), ["age"], SCHEMA).frame) == 2


def test_a_binding_that_names_no_person_is_told(tmp_path: Path) -> None:
    people(20).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r'curie: .*nobody who opposes could be left out.*person = "COLUMN"'):
        patients(Source(tmp_path / "t.csv"), "curie")
    with pytest.raises(DataError, match="no column 'ipp'"):
        read(Without(tmp_path / "t.csv", "ipp", {"1"}), ["age"], SCHEMA)


# --- receipts --------------------------------------------------------------------------------------------


def test_a_receipt_names_the_studies_that_used_a_patients_data(register: Register) -> None:
    register.used("b" * 64, "Second", RESEARCH, IDS[:5], "2026-02-01")
    register.used("a" * 64, "First", RESEARCH, IDS, "2026-01-01")
    register.used("a" * 64, "First", RESEARCH, IDS, "2026-03-01")
    register.used("a" * 64, "First", RESEARCH, IDS[1:], "2026-04-01")
    first, second = Use("a" * 64, "First", RESEARCH, "2026-01-01"), Use("b" * 64, "Second", RESEARCH, "2026-02-01")
    assert register.receipt(" p1 ") == [first, second]
    assert register.receipt("p9") == [first]
    assert register.receipt("nobody") == []


def test_a_set_answered_meanwhile_that_differs_by_few_is_refused(register: Register) -> None:
    register.answered("t", RESEARCH, IDS, 11)
    with pytest.raises(Refused, match="another study of the table 't' was answered meanwhile"):
        register.answered("t", RESEARCH, IDS[1:], 11)
    register.answered("t", RESEARCH, IDS[11:], 11)
    register.answered("another", RESEARCH, IDS[1:], 11)
    with sqlite3.connect(register.path) as db:
        assert db.execute("SELECT count(*) FROM answered").fetchone() == (3,)


# --- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    from confrere.hospital.home import Home

    people(40).to_csv(tmp_path / "t.csv", index=False)
    made = Home.make(tmp_path / "curie", "curie", {"breast": str(tmp_path / "t.csv")})
    file = made.path / "hospital.toml"
    plain = f'"breast" = "{tmp_path / "t.csv"}"'
    text = file.read_text()
    assert plain in text
    file.write_text(text.replace(plain, f'breast = {{path = "{tmp_path / "t.csv"}", person = "pid"}}'))
    return made.path


def said(home: Path, *words: str, code: int = 0) -> str:
    from confrere.console.opposition import app

    done = CliRunner().invoke(app, [*words, "--home", str(home)])
    if isinstance(done.exception, ConfrereError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def test_the_command(home: Path, tmp_path: Path) -> None:
    source = listed(tmp_path, CSV + "p4,*,soon,letter,opposed\n")
    out = said(home, "import", str(source.path), code=2)
    assert "3 new, 0 known" in out
    assert "line 5: date 'soon' is no date" in out
    assert "Mend them in" in out
    said(home, "add", "00001", "--source", "desk", "--purpose", RESEARCH)
    assert "00001  opposed" in said(home, "list")
    assert "00001" not in said(home, "list", "--table", "breast")
    assert "p1  opposed" in said(home, "list", "--table", "breast")
    said(home, "withdraw", "00001", "--purpose", RESEARCH)
    assert [line.split()[1] for line in said(home, "list", "00001").splitlines()] == ["opposed", "withdrawn"]
    said(home, "consent", RESEARCH)
    assert "Purposes that need consent: public-interest research" in said(home, "list")
    said(home, "consent", RESEARCH, "--not-needed")
    said(home, "add", "00002", "--source", "desk", "--consent", "--date", "2026-01-01")
    assert "00002  consented" in said(home, "list")
    with pytest.raises(ConfrereError, match="must be CODE=TEXT"):
        said(home, "import", str(source.path), "--purpose", "HRESCH")


def test_the_receipt_is_text_for_the_patient(home: Path) -> None:
    from confrere.hospital.home import Home

    assert "No study used your data." in said(home, "receipt", "00001")
    Home(home).oppositions.used("ab" * 32, "Hormones", RESEARCH, ["00001"], "2026-02-01")
    said(home, "add", "00001", "--source", "desk")
    english, french = said(home, "receipt", "00001"), said(home, "receipt", "00001", "--lang", "fr")
    for text in (english, french):
        assert "Hormones" in text
        assert "abababababababab" in text
        assert "2026-02-01" in text
    assert "you oppose (every purpose)" in english
    assert "vous vous opposez (toutes les finalités)" in french
    with pytest.raises(ConfrereError, match="--lang 'de' is not known"):
        said(home, "receipt", "00001", "--lang", "de")
