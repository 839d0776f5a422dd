"""The tables and columns of the OMOP common data model, versions 5.3 and 5.4 together, and the type of each column.

As in https://ohdsi.github.io/CommonDataModel (5.3 and 5.4). Of a column that one version alone has, a source of the
other has missing values. Types follow from names, as the model's own conventions have it: what ends in _id is a whole
number unless it names a vocabulary's text key, what ends in _date is a date, and so on. Notes, costs and metadata are
not here: no cohort reads them. A table without a column marked `!` cannot be read.
"""

from __future__ import annotations

from collections.abc import Mapping

REQUIRED = ("person", "observation_period")
RELEASE = "(select max(vocabulary_version) from vocabulary where vocabulary_id = 'None')"  # the name of a vocabulary

_TEXT_KEYS = (
    "domain_id", "vocabulary_id", "concept_class_id", "relationship_id", "reverse_relationship_id",
    "unique_device_id", "production_id", "is_hierarchical", "defines_ancestry",
)  # fmt: skip
_DOUBLES = (
    "value_as_number", "range_low", "range_high", "quantity", "dose_value", "amount_value", "numerator_value",
    "denominator_value", "latitude", "longitude",
)  # fmt: skip
_INTEGERS = (
    "year_of_birth", "month_of_birth", "day_of_birth", "days_supply", "refills", "gap_days", "drug_exposure_count",
    "condition_occurrence_count", "min_levels_of_separation", "max_levels_of_separation", "episode_number",
    "box_size", "concept_id_1", "concept_id_2",
)  # fmt: skip

_SPELT = {
    "person": """person_id! gender_concept_id! year_of_birth! month_of_birth day_of_birth birth_datetime race_concept_id
        ethnicity_concept_id location_id provider_id care_site_id person_source_value gender_source_value
        gender_source_concept_id race_source_value race_source_concept_id ethnicity_source_value
        ethnicity_source_concept_id""",
    "observation_period": """observation_period_id person_id! observation_period_start_date!
        observation_period_end_date! period_type_concept_id""",
    "visit_occurrence": """visit_occurrence_id! person_id! visit_concept_id! visit_start_date! visit_start_datetime
        visit_end_date visit_end_datetime visit_type_concept_id provider_id care_site_id visit_source_value
        visit_source_concept_id admitting_source_concept_id admitting_source_value admitted_from_concept_id
        admitted_from_source_value discharge_to_concept_id discharge_to_source_value discharged_to_concept_id
        discharged_to_source_value preceding_visit_occurrence_id""",
    "visit_detail": """visit_detail_id! person_id! visit_detail_concept_id! visit_detail_start_date!
        visit_detail_start_datetime visit_detail_end_date visit_detail_end_datetime visit_detail_type_concept_id
        provider_id care_site_id visit_detail_source_value visit_detail_source_concept_id admitting_source_value
        admitting_source_concept_id admitted_from_source_value admitted_from_concept_id discharge_to_source_value
        discharge_to_concept_id discharged_to_source_value discharged_to_concept_id preceding_visit_detail_id
        visit_detail_parent_id parent_visit_detail_id visit_occurrence_id""",
    "condition_occurrence": """condition_occurrence_id! person_id! condition_concept_id! condition_start_date!
        condition_start_datetime condition_end_date condition_end_datetime condition_type_concept_id
        condition_status_concept_id stop_reason provider_id visit_occurrence_id visit_detail_id
        condition_source_value condition_source_concept_id condition_status_source_value""",
    "drug_exposure": """drug_exposure_id! person_id! drug_concept_id! drug_exposure_start_date!
        drug_exposure_start_datetime drug_exposure_end_date drug_exposure_end_datetime verbatim_end_date
        drug_type_concept_id stop_reason refills quantity days_supply sig route_concept_id lot_number provider_id
        visit_occurrence_id visit_detail_id drug_source_value drug_source_concept_id route_source_value
        dose_unit_source_value""",
    "procedure_occurrence": """procedure_occurrence_id! person_id! procedure_concept_id! procedure_date!
        procedure_datetime procedure_end_date procedure_end_datetime procedure_type_concept_id modifier_concept_id
        quantity provider_id visit_occurrence_id visit_detail_id procedure_source_value procedure_source_concept_id
        modifier_source_value""",
    "device_exposure": """device_exposure_id! person_id! device_concept_id! device_exposure_start_date!
        device_exposure_start_datetime device_exposure_end_date device_exposure_end_datetime device_type_concept_id
        unique_device_id production_id quantity provider_id visit_occurrence_id visit_detail_id device_source_value
        device_source_concept_id unit_concept_id unit_source_value unit_source_concept_id""",
    "measurement": """measurement_id! person_id! measurement_concept_id! measurement_date! measurement_datetime
        measurement_time measurement_type_concept_id operator_concept_id value_as_number value_as_concept_id
        unit_concept_id range_low range_high provider_id visit_occurrence_id visit_detail_id
        measurement_source_value measurement_source_concept_id unit_source_value unit_source_concept_id
        value_source_value measurement_event_id meas_event_field_concept_id""",
    "observation": """observation_id! person_id! observation_concept_id! observation_date! observation_datetime
        observation_type_concept_id value_as_number value_as_string value_as_concept_id qualifier_concept_id
        unit_concept_id provider_id visit_occurrence_id visit_detail_id observation_source_value
        observation_source_concept_id unit_source_value qualifier_source_value value_source_value
        observation_event_id obs_event_field_concept_id""",
    "death": """person_id! death_date! death_datetime death_type_concept_id cause_concept_id cause_source_value
        cause_source_concept_id""",
    "specimen": """specimen_id! person_id! specimen_concept_id! specimen_type_concept_id specimen_date!
        specimen_datetime quantity unit_concept_id anatomic_site_concept_id disease_status_concept_id
        specimen_source_id specimen_source_value unit_source_value anatomic_site_source_value
        disease_status_source_value""",
    "payer_plan_period": """payer_plan_period_id! person_id! payer_plan_period_start_date! payer_plan_period_end_date
        payer_concept_id payer_source_value payer_source_concept_id plan_concept_id plan_source_value
        plan_source_concept_id sponsor_concept_id sponsor_source_value sponsor_source_concept_id
        family_source_value stop_reason_concept_id stop_reason_source_value stop_reason_source_concept_id""",
    "condition_era": """condition_era_id! person_id! condition_concept_id! condition_era_start_date!
        condition_era_end_date condition_occurrence_count""",
    "drug_era": """drug_era_id! person_id! drug_concept_id! drug_era_start_date! drug_era_end_date drug_exposure_count
        gap_days""",
    "dose_era": """dose_era_id! person_id! drug_concept_id! unit_concept_id dose_value dose_era_start_date!
        dose_era_end_date""",
    "episode": """episode_id! person_id! episode_concept_id! episode_start_date! episode_start_datetime
        episode_end_date episode_end_datetime episode_parent_id episode_number episode_object_concept_id
        episode_type_concept_id episode_source_value episode_source_concept_id""",
    "location": """location_id address_1 address_2 city state zip county location_source_value country_concept_id
        country_source_value latitude longitude""",
    "care_site": """care_site_id care_site_name place_of_service_concept_id location_id care_site_source_value
        place_of_service_source_value""",
    "provider": """provider_id provider_name npi dea specialty_concept_id care_site_id year_of_birth
        gender_concept_id provider_source_value specialty_source_value specialty_source_concept_id
        gender_source_value gender_source_concept_id""",
    "concept": """concept_id! concept_name domain_id vocabulary_id concept_class_id standard_concept concept_code
        valid_start_date valid_end_date invalid_reason""",
    "concept_ancestor": """ancestor_concept_id! descendant_concept_id! min_levels_of_separation
        max_levels_of_separation""",
    "concept_relationship": """concept_id_1! concept_id_2! relationship_id! valid_start_date valid_end_date
        invalid_reason""",
    "vocabulary": """vocabulary_id vocabulary_name vocabulary_reference vocabulary_version
        vocabulary_concept_id""",
    "drug_strength": """drug_concept_id ingredient_concept_id amount_value amount_unit_concept_id numerator_value
        numerator_unit_concept_id denominator_value denominator_unit_concept_id box_size valid_start_date
        valid_end_date invalid_reason""",
    "cdm_source": """cdm_source_name cdm_source_abbreviation cdm_holder source_description
        source_documentation_reference cdm_etl_reference source_release_date cdm_release_date cdm_version
        cdm_version_concept_id vocabulary_version""",
}  # fmt: skip


def type_of(column: str) -> str:
    """The type of a column, in the words of Ibis: int64, float64, date, timestamp or string."""
    if column in _TEXT_KEYS or column == "specimen_source_id":
        return "string"
    if column in _DOUBLES:
        return "float64"
    if column in _INTEGERS or column.endswith("_id"):
        return "int64"
    if column.endswith("_date"):
        return "date"
    return "timestamp" if column.endswith("_datetime") else "string"


TABLES: Mapping[str, Mapping[str, str]] = {
    table: {column: type_of(column) for column in columns.replace("!", "").split()} for table, columns in _SPELT.items()
}
NEEDED: Mapping[str, tuple[str, ...]] = {
    table: tuple(column[:-1] for column in columns.split() if column.endswith("!")) for table, columns in _SPELT.items()
}
PERSONAL = tuple(table for table, columns in TABLES.items() if "person_id" in columns)


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def source_of(name: str, made: str, version: str) -> dict[str, str]:
    """The columns of `cdm_source` of tables of version 5.4 made today, as SQL: of whom, how, on which vocabulary."""
    own = quoted(name)
    return {
        "cdm_source_name": own, "cdm_source_abbreviation": own, "cdm_holder": own, "source_description": quoted(made),
        "source_release_date": "current_date", "cdm_release_date": "current_date", "cdm_version": "'5.4'",
        "cdm_version_concept_id": "756265::bigint", "vocabulary_version": version,
    }  # fmt: skip
