"""FHIR R4 bulk export as OMOP tables: what each resource becomes, how codes map, and that no line is lost."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from confrere.console.app import app
from confrere.data import fhir
from confrere.data.cdm import TABLES
from confrere.data.fhir_import import Imported, imported, number
from confrere.data.omop import opened
from confrere.data.opposition import Register
from confrere.data.synthetic_vocabulary import vocabulary
from confrere.errors import ConfrereError, DataError
from confrere.hospital.home import Home

SNOMED, LOINC, UCUM = "http://snomed.info/sct", "http://loinc.org", "http://unitsofmeasure.org"
RXNORM, ICD = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/icd-10-cm"
Resource = dict[str, Any]


def coded(*codings: tuple[str, str], text: str = "") -> Resource:
    """A CodeableConcept."""
    made: Resource = {"coding": [{"system": system, "code": code} for system, code in codings]} if codings else {}
    return made | ({"text": text} if text else {})


def of(kind: str, own: str, who: str = "ada", **fields: Any) -> Resource:
    """A resource about a patient."""
    return {"resourceType": kind, "id": own, "subject": {"reference": f"Patient/{who}"}, **fields}


ADA = {"resourceType": "Patient", "id": "ada", "gender": "female", "birthDate": "1950-05-17"}
BOB = {"resourceType": "Patient", "id": "bob", "gender": "other", "birthDate": "1961-02", "deceasedBoolean": True}
CLAIRE = {"resourceType": "Patient", "id": "claire", "gender": "male", "birthDate": "1970",
          "deceasedDateTime": "2021-03-04T23:30:00+02:00"}  # fmt: skip
STAY = of("Encounter", "e1", status="finished", period={"start": "2020-01-01T08:00:00Z", "end": "2020-01-04"},
          **{"class": {"code": "IMP"}})  # fmt: skip
DIABETES = of("Condition", "c1", code=coded((SNOMED, "44054006")), onsetDateTime="2019-05",
              abatementDateTime="2021-01-01", encounter={"reference": "Encounter/e1"})  # fmt: skip
BLEED = of("Condition", "c2", "bob", code=coded((ICD, "K92.2")), recordedDate="2020-02-03")
STRANGE = of("Condition", "c3", code=coded(("http://local", "X1"), text="odd toe"), onsetPeriod={"start": "2018-01-01"})
CELECOXIB = of("MedicationRequest", "m1", status="active", intent="order", authoredOn="2020-01-02",
               medicationCodeableConcept=coded((RXNORM, "213469")), dispenseRequest={
                   "expectedSupplyDuration": {"value": 30, "code": "d"}, "quantity": {"value": 60},
                   "numberOfRepeatsAllowed": 2})  # fmt: skip
ASPIRIN = {"resourceType": "Medication", "id": "asp", "code": coded((RXNORM, "243670"))}
GIVEN = of("MedicationAdministration", "a1", status="completed", context={"reference": "Encounter/e1"},
           effectivePeriod={"start": "2020-01-02T10:00:00Z", "end": "2020-01-03"},
           medicationReference={"reference": "Medication/asp"}, dosage={"dose": {"value": 1}})  # fmt: skip
SUGAR = of("Observation", "o1", status="final", code=coded((LOINC, "4548-4")),
           effectiveDateTime="2020-01-02T09:15:30+01:00",
           valueQuantity={"value": 7.2, "unit": "%", "system": UCUM, "code": "%", "comparator": ">"},
           referenceRange=[{"low": {"value": 4}, "high": {"value": 5.6}}])  # fmt: skip
PRESSURE = of("Observation", "o2", status="final", code=coded((LOINC, "85354-9")),
              effectiveDateTime="2020-01-02", component=[
    {"code": coded((LOINC, "8480-6")), "valueQuantity": {"value": 141, "system": UCUM, "code": "mm[Hg]"}},
    {"code": coded((LOINC, "8462-4")), "valueQuantity": {"value": 88, "system": UCUM, "code": "mm[Hg]"}}])  # fmt: skip
SMOKES = of("Observation", "o3", status="final", code=coded((LOINC, "72166-2")), issued="2020-01-02T00:00:00Z",
            valueCodeableConcept=coded((SNOMED, "77176002"), text="Smoker"))  # fmt: skip
SCAN = of("Procedure", "p1", status="completed", code=coded((SNOMED, "40701008")), performedDateTime="2020-01-03")
CONSENT = {"resourceType": "Consent", "id": "n1", "status": "active", "patient": {"reference": "Patient/ada"},
           "dateTime": "2021-01-01", "provision": {"type": "deny"}}  # fmt: skip
GOOD = [ADA, BOB, CLAIRE, STAY, DIABETES, BLEED, STRANGE, CELECOXIB, ASPIRIN, GIVEN, SUGAR, PRESSURE, SMOKES, SCAN]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary as a folder of Parquet files."""
    folder = tmp_path_factory.mktemp("vocabulary")
    for name, table in vocabulary("here").items():
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


class Made:
    """An import, and questions to its tables."""

    def __init__(self, folder: Path, words: Path, *lines: Resource | str, **options: Any) -> None:
        (folder / "in").mkdir()
        text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (folder / "in" / "all.ndjson").write_text("\n".join(text) + "\n", encoding="utf-8")
        self.out = folder / "out"
        self.told: Imported = imported(folder / "in", self.out, words, **options)

    def rows(self, table: str) -> pd.DataFrame:
        """A table, by its order."""
        return duckdb.connect().execute(f"from '{self.out}/{table}.parquet'").df()

    def one(self, table: str) -> Mapping[str, Any]:
        """The one row of a table."""
        (row,) = self.rows(table).to_dict("records")
        return row

    def quarantine(self) -> list[dict[str, str]]:
        """The lines that could not be read."""
        path = self.told.quarantine
        return [json.loads(line) for line in path.read_text().splitlines()] if path else []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, words: Path) -> Made:
    """An export in which nothing is wrong."""
    return Made(tmp_path_factory.mktemp("fhir"), words, *GOOD)


# What each resource becomes -----------------------------------------------------------------------------------


def test_patients_are_people(made: Made) -> None:
    people = made.rows("person").set_index("person_source_value")
    assert people.loc["ada", ["gender_concept_id", "year_of_birth", "month_of_birth", "day_of_birth"]].tolist() == [
        8532, 1950, 5, 17]  # fmt: skip
    assert people.loc["bob", ["gender_concept_id", "gender_source_value"]].tolist() == [0, "other"]
    assert people.loc[["bob", "claire"], "day_of_birth"].isna().all()
    assert people.loc["claire", "month_of_birth"] is pd.NA or pd.isna(people.loc["claire", "month_of_birth"])
    assert people.person_id.to_dict() == {who: number(who) for who in ("ada", "bob", "claire")}


def test_deaths_need_a_day_and_the_others_are_told(made: Made) -> None:
    row = made.one("death")
    assert row["person_id"] == number("claire")
    assert str(row["death_date"])[:10] == "2021-03-04"  # on the clock where it was written
    assert made.told.undated == 1


def test_encounters_are_visits_and_events_hang_on_them(made: Made) -> None:
    visit = made.one("visit_occurrence")
    assert (visit["visit_concept_id"], visit["visit_source_value"]) == (9201, "IMP")
    assert (str(visit["visit_start_date"])[:10], str(visit["visit_end_date"])[:10]) == ("2020-01-01", "2020-01-04")
    of_visit = made.rows("condition_occurrence").set_index("condition_source_value").visit_occurrence_id
    assert of_visit["44054006"] == visit["visit_occurrence_id"]
    assert pd.isna(of_visit["K92.2"])


def test_conditions(made: Made) -> None:
    rows = made.rows("condition_occurrence").set_index("condition_source_value")
    assert rows.condition_concept_id.to_dict() == {"44054006": 201826, "K92.2": 192671, "X1": 0}
    assert rows.condition_source_concept_id.to_dict() == {"44054006": 201826, "K92.2": 35208414, "X1": 0}
    assert str(rows.condition_start_date["44054006"])[:10] == "2019-05-01"
    assert str(rows.condition_end_date["44054006"])[:10] == "2021-01-01"
    assert rows.person_id["K92.2"] == number("bob")


def test_prescriptions_and_administrations_are_drug_exposures(made: Made) -> None:
    rows = made.rows("drug_exposure").set_index("drug_concept_id")
    asked, given = rows.loc[1118088], rows.loc[19059056]
    assert (asked.days_supply, asked.quantity, asked.refills) == (30, 60, 2)
    assert str(asked.drug_exposure_end_date)[:10] == "2020-01-31"
    assert (str(given.drug_exposure_start_datetime), given.quantity) == ("2020-01-02 10:00:00", 1)
    assert given.visit_occurrence_id == number("e1")


def test_values_have_units_ranges_and_operators(made: Made) -> None:
    row = made.rows("measurement").set_index("measurement_concept_id").loc[3004410]
    assert (row.value_as_number, row.unit_concept_id, row.unit_source_value) == (7.2, 8554, "%")
    assert (row.range_low, row.range_high, row.operator_concept_id) == (4, 5.6, 4172704)
    assert str(row.measurement_datetime) == "2020-01-02 09:15:30"


def test_components_are_measurements_of_their_own(made: Made) -> None:
    values = made.rows("measurement").set_index("measurement_concept_id").value_as_number
    assert (values[3004249], values[3012888], len(values)) == (141, 88, 3)
    assert made.told.kinds["Observation"].taken == 3  # resources; rows are four


def test_a_coded_value_without_concepts_keeps_its_words(made: Made) -> None:
    """Neither the question nor the answer is in this vocabulary."""
    row = made.rows("measurement" if made.told.rows["observation"] == 0 else "observation").iloc[-1]
    assert (row.observation_concept_id, row.value_as_concept_id) == (0, 0)
    assert (row.observation_source_value, row.value_as_string) == ("72166-2", "Smoker")


def test_procedures(made: Made) -> None:
    row = made.one("procedure_occurrence")
    assert (row["procedure_concept_id"], row["procedure_source_value"]) == (0, "40701008")
    assert str(row["procedure_date"])[:10] == "2020-01-03"


def test_people_are_observed_from_their_first_record_to_the_last(made: Made) -> None:
    periods = made.rows("observation_period").set_index("person_id")
    assert str(periods.observation_period_start_date[number("ada")])[:10] == "2018-01-01"
    assert str(periods.observation_period_end_date[number("ada")])[:10] == "2021-01-01"
    assert number("claire") not in periods.index  # nothing is recorded of this patient


def test_the_tables_are_those_of_the_data_model(made: Made) -> None:
    for path in made.out.glob("*.parquet"):
        assert pq.read_schema(path).names == list(TABLES[path.stem])
    with opened(made.out) as cdm:
        for table, rows in made.told.rows.items():
            assert cdm.table(table).count().to_pyarrow().as_py() == rows
        assert cdm.misfits() == []
    assert made.rows("cdm_source").vocabulary_version.item() == "subset for synthetic data"


# Codes --------------------------------------------------------------------------------------------------------


def test_of_several_codings_the_first_that_has_a_standard_concept_counts(tmp_path: Path, words: Path) -> None:
    code = coded(("http://local", "X1"), (ICD, "K92.2"), (SNOMED, "44054006"))
    row = Made(tmp_path, words, ADA, {**DIABETES, "code": code}).one("condition_occurrence")
    assert (row["condition_concept_id"], row["condition_source_value"]) == (192671, "K92.2")


def test_one_code_may_map_to_two_concepts_of_two_domains(tmp_path: Path) -> None:
    """The vocabulary is as Athena sends it: tabs, upper-case names, compact dates, quotes that mean nothing."""
    words, end = tmp_path / "words", "19700101\t20991231\t"
    words.mkdir()
    concepts = [
        f"1\tBoth \"parts\t Condition\tICD10CM\tcode\t\tZ1\t{end}", f"2\tIllness\tCondition\tSNOMED\tx\tS\t22\t{end}",
        f"3\tState\tObservation\tSNOMED\tx\tS\t33\t{end}", f"4\tGone\tCondition\tSNOMED\tx\tS\t44\t{end}",
    ]  # fmt: skip
    maps = [f"1\t2\tMaps to\t{end}", f"1\t3\tMaps to\t{end}", f"1\t4\tMaps to\t{end}D", f"1\t4\tIs a\t{end}"]
    heads = {"CONCEPT": list(TABLES["concept"]), "CONCEPT_RELATIONSHIP": list(TABLES["concept_relationship"])}
    for (name, head), lines in zip(heads.items(), (concepts, maps), strict=True):
        (words / f"{name}.csv").write_text("\n".join(["\t".join(head), *lines]) + "\n")
    made = Made(tmp_path, words, ADA, {**DIABETES, "code": coded((ICD, "Z1"))})
    assert made.one("condition_occurrence")["condition_concept_id"] == 2
    assert made.one("observation")["observation_concept_id"] == 3
    assert {row["condition_source_concept_id"] for row in [made.one("condition_occurrence")]} == {1}
    assert str(made.rows("concept").valid_end_date[0])[:10] == "2099-12-31"
    assert made.told.kinds["Condition"].taken == 1
    assert not (made.out / "concept_ancestor.parquet").exists()


def test_unmapped_codes_are_counted_and_listed(made: Made, tmp_path: Path, words: Path) -> None:
    assert made.told.unmapped == {"condition_occurrence": 1, "drug_exposure": 0, "procedure_occurrence": 1,
                                  "measurement": 0, "observation": 1}  # fmt: skip
    again = Made(tmp_path, words, ADA, STRANGE, {**STRANGE, "id": "c4"}, SCAN)
    rows = pd.read_csv(again.out / "unmapped.csv").fillna("").to_dict("records")
    assert rows[0] == {
        "table": "condition_occurrence",
        "system": "http://local",
        "code": "X1",
        "text": "odd toe",
        "rows": 2,
    }
    assert rows[1]["code"] == "40701008"


def test_a_system_may_be_named(tmp_path: Path, words: Path) -> None:
    record = {**DIABETES, "code": coded(("urn:ours", "44054006"))}
    made = Made(tmp_path, words, ADA, record, systems={"urn:ours": "SNOMED"})
    assert made.one("condition_occurrence")["condition_concept_id"] == 201826


def test_a_text_without_a_code_stays(tmp_path: Path, words: Path) -> None:
    made = Made(tmp_path, words, ADA, {**DIABETES, "code": {"text": "sugar"}})
    row = made.one("condition_occurrence")
    assert (row["condition_concept_id"], row["condition_source_value"]) == (0, "sugar")


# Nothing is lost ----------------------------------------------------------------------------------------------

BAD: list[tuple[Resource | str, str]] = [
    ("{not json", "no JSON object"),
    ('{"resourceType": "Observation", "valueInteger": NaN}', "no JSON object"),
    ("[1, 2]", "no JSON object"),
    ({"id": "x"}, "no JSON object with a resourceType"),
    ({**ADA, "id": "x", "birthDate": "17.5.1950"}, "birthDate is no date of FHIR"),
    ({k: v for k, v in ADA.items() if k != "birthDate"} | {"id": "x"}, "birthDate is missing"),
    ({**ADA, "id": "x", "deceasedDateTime": "1949-01-01"}, "lies before birthDate"),
    ({**DIABETES, "subject": {"reference": "Patient/nobody"}}, "nobody whose Patient is in the export"),
    ({**DIABETES, "subject": {}}, "subject.reference names no patient"),
    ({**DIABETES, "subject": "ada"}, "no Condition of FHIR R4"),
    ({**DIABETES, "code": {}}, "code has neither a code nor a text"),
    ({k: v for k, v in DIABETES.items() if k != "onsetDateTime"}, "OMOP needs a day"),
    ({**DIABETES, "abatementDateTime": "2001-01-01"}, "lies before the start"),
    ({**DIABETES, "onsetDateTime": "2019-13-01"}, "onsetDateTime is no date"),
    ({**DIABETES, "onsetDateTime": "0019-12-01"}, "not of the years"),
    ({k: v for k, v in SUGAR.items() if k != "status"}, "status is missing"),
    ({**SUGAR, "valueQuantity": {"value": "seven"}}, "valueQuantity.value is no number"),
    ({**SUGAR, "valueQuantity": {"value": "NaN"}}, "valueQuantity.value is not finite"),
    ({**SUGAR, "component": [7]}, "no Observation of FHIR R4"),
    ({**GIVEN, "medicationReference": {"reference": "Medication/none"}}, "the Medication of medicationReference"),
    (
        {**CELECOXIB, "dispenseRequest": {"expectedSupplyDuration": {"value": 9999, "code": "d"}}},
        "between 1 and 3650 days",
    ),
    ({**CELECOXIB, "authoredOn": None}, "authoredOn is missing"),
    ({**STAY, "period": {"end": "2020-01-01"}}, "period.start is missing"),
    ({**CONSENT, "patient": {"reference": "Patient/nobody"}}, "nobody whose Patient is in the export"),
    ({"resourceType": "Medication", "id": "z"}, "code has neither"),
]


@pytest.mark.parametrize(("line", "reason"), BAD, ids=[reason[:30] for _, reason in BAD])
def test_a_line_that_cannot_be_read_is_kept_with_its_reason(
    line: Resource | str, reason: str, tmp_path: Path, words: Path
) -> None:
    made = Made(tmp_path, words, ADA, ASPIRIN, line, BLEED | {"subject": {"reference": "Patient/ada"}})
    (kept,) = made.quarantine()
    assert reason in kept["reason"]
    assert kept["place"] == "all.ndjson:3"
    assert kept["line"] == (line if isinstance(line, str) else json.dumps(line))
    assert made.told.rows["condition_occurrence"] == 1  # the others are in
    assert adds_up(made.told)


def adds_up(told: Imported) -> bool:
    """Every line is in one of the counts."""
    for kind in told.kinds.values():
        assert kind.read == kind.taken + kind.repeated + sum(kind.left.values()) + kind.quarantined
        assert kind.taken >= 0
    return told.lines == sum(kind.read for kind in told.kinds.values()) + sum(told.unread.values())


LEFT = [
    ({**STAY, "status": "planned"}, "status planned"),
    ({**SUGAR, "status": "entered-in-error"}, "status entered-in-error"),
    ({**SCAN, "status": "not-done"}, "status not-done"),
    ({**GIVEN, "status": "not-done"}, "status not-done"),
    ({**CELECOXIB, "intent": "proposal"}, "intent proposal"),
    ({**CELECOXIB, "doNotPerform": True}, "doNotPerform"),
    ({**DIABETES, "verificationStatus": coded(("x", "refuted"))}, "verificationStatus refuted"),
]


def dated(resource: Resource, day: str) -> Resource:
    """A version of a resource."""
    return {**resource, "meta": {"lastUpdated": f"{day}T00:00:00Z"}}


ERRORS = [
    (SUGAR, {"status": "entered-in-error"}, "measurement"),
    (CELECOXIB, {"status": "cancelled"}, "drug_exposure"),
    (DIABETES, {"verificationStatus": coded(("x", "entered-in-error"))}, "condition_occurrence"),
    (STAY, {"status": "entered-in-error"}, "visit_occurrence"),
]


@pytest.mark.parametrize(("resource", "change", "table"), ERRORS, ids=[table for _, _, table in ERRORS])
def test_a_later_version_that_is_no_fact_removes_the_earlier_one(
    resource: Resource, change: Resource, table: str, tmp_path: Path, words: Path
) -> None:
    first, last = dated(resource, "2020-01-01"), dated(resource | change, "2021-01-01")
    for folder, lines, rows in (("a", (first, last), 0), ("b", (last, first), 0)):  # whatever stands first in the file
        (tmp_path / folder).mkdir()
        made = Made(tmp_path / folder, words, ADA, *lines)
        assert made.told.rows[table] == rows
        tally = made.told.kinds[str(resource["resourceType"])]
        assert (tally.read, tally.taken, tally.repeated, sum(tally.left.values())) == (2, 0, 1, 1)
        assert adds_up(made.told)
    (tmp_path / "c").mkdir()
    made = Made(tmp_path / "c", words, ADA, last, dated(resource, "2022-01-01"), first)  # it was no error after all
    assert made.told.rows[table] == 1
    assert made.told.kinds[str(resource["resourceType"])].taken == 1
    assert adds_up(made.told)
    (tmp_path / "d").mkdir()
    made = Made(tmp_path / "d", words, ADA, resource, resource | change)  # of the same time: the error counts
    assert made.told.rows[table] == 0


@pytest.mark.parametrize(("line", "reason"), LEFT, ids=[reason for _, reason in LEFT])
def test_what_is_no_fact_is_left_and_counted(line: Resource, reason: str, tmp_path: Path, words: Path) -> None:
    made = Made(tmp_path, words, ADA, ASPIRIN, line)
    assert made.told.kinds[line["resourceType"]].left == {reason: 1}
    assert sum(made.told.rows.values()) == 2  # the patient, and cdm_source
    assert made.told.quarantine is None
    assert adds_up(made.told)


def test_counts_add_up_over_everything(tmp_path: Path, words: Path) -> None:
    lines = [
        *GOOD,
        *(line for line, _ in BAD),
        *(line for line, _ in LEFT),
        "",
        of("Claim", "k1"),
        DIABETES,
        ADA,
        CONSENT,
    ]
    made = Made(tmp_path, words, *lines)
    assert made.told.lines == len(lines) - 1
    assert adds_up(made.told)
    assert made.told.unread == {"Claim": 1}
    assert sum(kind.quarantined for kind in made.told.kinds.values()) == len(made.quarantine()) == len(BAD)
    assert made.told.kinds["Patient"].repeated == 1
    assert made.told.kinds["Condition"].repeated == 2  # one of LEFT says that both were an error


def test_of_several_versions_the_latest_is_taken(tmp_path: Path, words: Path) -> None:
    def version(resource: Resource, at: str, **changed: Any) -> Resource:
        return {**resource, "meta": {"lastUpdated": f"2021-01-0{at}T00:00:00Z"}, **changed}

    values = [{"value": value, "system": UCUM, "code": "mm[Hg]"} for value in (1, 2)]
    parts = [{**part, "valueQuantity": values[1]} for part in PRESSURE["component"]]
    made = Made(
        tmp_path, words, version(ADA, "1"), version(ADA, "3", birthDate="1951"), version(ADA, "2", birthDate="1952"),
        version(STAY, "1"), version(STAY, "2", **{"class": {"code": "EMER"}}),
        PRESSURE, version(PRESSURE, "5", component=parts),
    )  # fmt: skip
    assert made.one("person")["year_of_birth"] == 1951
    assert made.one("visit_occurrence")["visit_concept_id"] == 9203
    assert made.rows("measurement").value_as_number.tolist() == [2, 2]
    assert {kind: tally.repeated for kind, tally in made.told.kinds.items()} == {
        "Patient": 2, "Encounter": 1, "Observation": 1}  # fmt: skip
    assert adds_up(made.told)


def test_bytes_that_are_no_text_spoil_their_own_line_only(tmp_path: Path, words: Path) -> None:
    (tmp_path / "in").mkdir()
    raw = [json.dumps(ADA).encode(), b'{"resourceType": "Condition", "id": "\xff"}', json.dumps(DIABETES).encode()]
    (tmp_path / "in" / "all.ndjson").write_bytes(b"\n".join(raw))
    told = imported(tmp_path / "in", tmp_path / "out", words)
    assert told.rows["condition_occurrence"] == 1
    assert told.kinds[""].quarantined == 1


def test_files_may_be_many_packed_and_in_any_order(tmp_path: Path, words: Path, made: Made) -> None:
    (tmp_path / "in").mkdir()
    with gzip.open(tmp_path / "in" / "Z.ndjson.gz", "wt") as packed:
        packed.write(
            "\n".join(json.dumps(r) for r in GOOD if r["resourceType"] in ("Patient", "Medication", "Encounter"))
        )
    rest = [r for r in GOOD if r["resourceType"] not in ("Patient", "Medication", "Encounter")]
    (tmp_path / "in" / "A.ndjson").write_text("\n".join(json.dumps(r) for r in reversed(rest)))
    told = imported(tmp_path / "in", tmp_path / "out", words)
    assert (told.rows, told.kinds, told.unmapped) == (made.told.rows, made.told.kinds, made.told.unmapped)


def test_a_contained_medication_and_references_of_every_spelling(tmp_path: Path, words: Path) -> None:
    drug = {k: v for k, v in CELECOXIB.items() if k != "medicationCodeableConcept"} | {
        "contained": [{"resourceType": "Medication", "id": "in", "code": coded((RXNORM, "140587"))}],
        "medicationReference": {"reference": "#in"},
    }
    spelt = ["Patient/ada", "https://h/fhir/Patient/ada/_history/2", "urn:uuid:ada"]
    lines = [{**drug, "id": f"m{i}", "subject": {"reference": s}} for i, s in enumerate(spelt)]
    rows = Made(tmp_path, words, ADA, *lines).rows("drug_exposure")
    assert rows.drug_concept_id.tolist() == [1118084] * 3
    assert set(rows.person_id) == {number("ada")}


def test_a_visit_of_somebody_else_is_not_taken(tmp_path: Path, words: Path) -> None:
    made = Made(tmp_path, words, ADA, BOB, STAY, {**BLEED, "encounter": {"reference": "Encounter/e1"}})
    assert pd.isna(made.one("condition_occurrence")["visit_occurrence_id"])


# Consents -----------------------------------------------------------------------------------------------------


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder with one of each, and an opposition."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "all.ndjson").write_text("\n".join(json.dumps(r) for r in [*GOOD, CONSENT]))
    return tmp_path / "in"


def run(*arguments: object) -> Any:
    """The command."""
    return CliRunner().invoke(app, ["hospital", "import-fhir", *map(str, arguments)])


def test_an_opposition_reaches_the_register_under_the_person_id_of_the_tables(
    export: Path, tmp_path: Path, words: Path
) -> None:
    home = Home.make(tmp_path / "curie", "curie", {"omop": "out"})
    done = run(export, "--out", tmp_path / "out", "--vocabulary", words, "--home", home.path)
    assert done.exit_code == 0, done.output
    assert "Oppositions and consents: 1 new" in done.output
    register = Register(home.path / "oppositions.sqlite")
    out = register.left_out("public-interest research", [str(number(who)) for who in ("ada", "bob")])
    register.close()
    assert out == {str(number("ada"))}
    with opened(tmp_path / "out", without=out) as cdm:
        people = cdm.table("person").person_source_value.to_pyarrow().to_pylist()
        assert sorted(people) == ["bob", "claire"]


def test_an_opposition_without_a_register_is_told_loudly(export: Path, tmp_path: Path, words: Path) -> None:
    done = run(export, "--out", tmp_path / "out", "--vocabulary", words, "--home", tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "oppositions are NOT recorded" in done.output


def test_the_command_says_what_became_of_every_line(export: Path, tmp_path: Path, words: Path) -> None:
    with (export / "more.ndjson").open("w") as file:
        file.write("{oops\n" + json.dumps({**SUGAR, "id": "o9", "status": "cancelled"}) + "\n")
    done = run(
        export, "--out", tmp_path / "out", "--vocabulary", words, "--home", Home.make(tmp_path / "c", "c", {}).path
    )
    assert done.exit_code == 2
    lines = (
        "17 lines", "  Observation: 4 = 3 taken + 1 left (status cancelled)",
        "  no resource: 1 = 0 taken + 1 in quarantine",
        "condition_occurrence: 3 rows, 1 (33.3%) without a standard concept",
        "dead on a day that nobody said: 1 person",
        "unmapped.csv", "1 x no JSON object with a resourceType; export it again (first: more.ndjson:1)",
        "Mend the lines in",
    )  # fmt: skip
    for line in lines:
        assert line in done.output, done.output


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"folder": "empty"}, "there is no file .ndjson"),
        ({"vocabulary": "empty"}, "there is no table 'concept'"),
        ({"out": "in"}, "is not an empty folder"),
    ],
)
def test_what_is_refused(change: dict[str, str], said: str, export: Path, tmp_path: Path, words: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = {"folder": export, "out": tmp_path / "out", "vocabulary": words}
    given |= {key: tmp_path / name for key, name in change.items()}
    with pytest.raises(DataError, match=said):
        imported(**given)


def test_a_system_without_a_vocabulary_is_an_error(export: Path, tmp_path: Path, words: Path) -> None:
    done = run(export, "--out", tmp_path / "out", "--vocabulary", words, "--system", "http://x")
    assert isinstance(done.exception, ConfrereError)


@pytest.mark.parametrize("line", [x for x, _ in BAD if isinstance(x, dict) and x.get("resourceType") in fhir.READERS])
def test_errors_name_no_value_of_a_patient(line: Resource) -> None:
    try:
        fhir.rows(line, {})
    except DataError as error:
        said = str(error)
        assert not any(word in said for word in ("ada", "17.5", "1949", "2001", "2019", "seven", "nobody", "9999"))
