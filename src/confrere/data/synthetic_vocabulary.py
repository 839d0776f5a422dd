"""The concepts that synthetic hospitals use: public identifiers of OHDSI's standardised vocabularies, a small subset.

Identifiers, names and codes are those of the vocabulary files that OHDSI publishes with its example data (Eunomia
GiBleed, Synthea27Nj, omock, circe-be). The hierarchy holds only what the subset needs: a product is below its
ingredient, a disease below the more general one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from confrere.data.cdm import TABLES

# id | name | domain | vocabulary | class | standard | code
_CONCEPTS = """
0|No matching concept|Metadata|None|Undefined||No matching concept
756265|OMOP CDM Version 5.4.0|Metadata|CDM|CDM|S|CDM v5.4.0
8507|MALE|Gender|Gender|Gender|S|M
8532|FEMALE|Gender|Gender|Gender|S|F
8515|Asian|Race|Race|Race|S|2
8516|Black or African American|Race|Race|Race|S|3
8527|White|Race|Race|Race|S|5
38003564|Not Hispanic or Latino|Ethnicity|Ethnicity|Ethnicity|S|Not Hispanic
9201|Inpatient Visit|Visit|Visit|Visit|S|IP
9202|Outpatient Visit|Visit|Visit|Visit|S|OP
9203|Emergency Room Visit|Visit|Visit|Visit|S|ER
254|EHR Record immediate cause of death|Type Concept|Condition Type|Condition Type||OMOP4822046
38000175|Prescription dispensed in pharmacy|Type Concept|Drug Type|Drug Type||OMOP4822239
38000280|Observation recorded from EHR|Type Concept|Observation Type|Observation Type||OMOP generated
44814725|Period inferred by algorithm|Type Concept|Obs Period Type|Obs Period Type||OMOP4822290
320128|Essential hypertension|Condition|SNOMED|Clinical Finding|S|59621000
432867|Hyperlipidemia|Condition|SNOMED|Clinical Finding|S|55822004
201826|Type 2 diabetes mellitus|Condition|SNOMED|Clinical Finding|S|44054006
443597|Chronic kidney disease stage 3|Condition|SNOMED|Clinical Finding|S|433144002
317576|Coronary arteriosclerosis|Condition|SNOMED|Clinical Finding|S|53741008
4329847|Myocardial infarction|Condition|SNOMED|Clinical Finding|S|22298006
313217|Atrial fibrillation|Condition|SNOMED|Clinical Finding|S|49436004
316139|Heart failure|Condition|SNOMED|Clinical Finding|S|84114007
4229440|Chronic congestive heart failure|Condition|SNOMED|Clinical Finding|S|88805009
381316|Cerebrovascular accident|Condition|SNOMED|Clinical Finding|S|230690007
261325|Pulmonary emphysema|Condition|SNOMED|Clinical Finding|S|87433001
317009|Asthma|Condition|SNOMED|Clinical Finding|S|195967001
80180|Osteoarthritis|Condition|SNOMED|Clinical Finding|S|396275006
4079749|Osteoarthritis of hip|Condition|SNOMED|Clinical Finding|S|239872002
4079750|Osteoarthritis of knee|Condition|SNOMED|Clinical Finding|S|239873007
4027663|Peptic ulcer|Condition|SNOMED|Clinical Finding|S|13200003
318800|Gastroesophageal reflux disease|Condition|SNOMED|Clinical Finding|S|235595009
4152280|Major depressive disorder|Condition|SNOMED|Clinical Finding|S|370143000
4282096|Major depression, single episode|Condition|SNOMED|Clinical Finding|S|36923009
140673|Hypothyroidism|Condition|SNOMED|Clinical Finding|S|40930008
440674|Gout|Condition|SNOMED|Clinical Finding|S|90560007
80502|Osteoporosis|Condition|SNOMED|Clinical Finding|S|64859006
4112853|Malignant tumor of breast|Condition|SNOMED|Clinical Finding|S|254837009
4180790|Malignant tumor of colon|Condition|SNOMED|Clinical Finding|S|363406005
197500|Primary malignant neoplasm of colon|Condition|SNOMED|Clinical Finding|S|93761005
378419|Alzheimer's disease|Condition|SNOMED|Clinical Finding|S|26929004
439777|Anemia|Condition|SNOMED|Clinical Finding|S|271737000
192671|Gastrointestinal hemorrhage|Condition|SNOMED|Clinical Finding|S|74474003
40481087|Viral sinusitis|Condition|SNOMED|Clinical Finding|S|444814009
260139|Acute bronchitis|Condition|SNOMED|Clinical Finding|S|10509002
81902|Urinary tract infectious disease|Condition|SNOMED|Clinical Finding|S|68566005
372328|Otitis media|Condition|SNOMED|Clinical Finding|S|65363002
81151|Sprain of ankle|Condition|SNOMED|Clinical Finding|S|44465007
255848|Pneumonia|Condition|SNOMED|Clinical Finding|S|233604007
35208414|Gastrointestinal hemorrhage, unspecified|Condition|ICD10CM|4-char billing code||K92.2
1308216|lisinopril|Drug|RxNorm|Ingredient|S|29046
19080128|lisinopril 10 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|314076
1332418|amlodipine|Drug|RxNorm|Ingredient|S|17767
1332419|amlodipine 5 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|197361
1539403|simvastatin|Drug|RxNorm|Ingredient|S|36567
1539411|simvastatin 20 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|312961
1503297|metformin|Drug|RxNorm|Ingredient|S|6809
40163924|24 HR metformin hydrochloride 500 MG Extended Release Oral Tablet|Drug|RxNorm|Quant Clinical Drug|S|860975
1112807|aspirin|Drug|RxNorm|Ingredient|S|1191
19059056|aspirin 81 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|243670
1310149|warfarin|Drug|RxNorm|Ingredient|S|11289
40163554|warfarin sodium 5 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|855332
957136|furosemide 40 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|313988
1154343|albuterol|Drug|RxNorm|Ingredient|S|435
1154615|200 ACTUAT Albuterol 0.09 MG/ACTUAT Metered Dose Inhaler|Drug|RxNorm|Quant Clinical Drug|S|745679
1551099|prednisone|Drug|RxNorm|Ingredient|S|8640
1551192|prednisone 5 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|312617
739207|sertraline 100 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|312938
1501700|levothyroxine|Drug|RxNorm|Ingredient|S|10582
40174880|levothyroxine sodium 0.075 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|966222
1167323|allopurinol 100 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|197319
1557272|alendronate|Drug|RxNorm|Ingredient|S|46041
40173590|alendronic acid 10 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|904419
1713332|amoxicillin|Drug|RxNorm|Ingredient|S|723
19073188|amoxicillin 500 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|308192
1115008|naproxen|Drug|RxNorm|Ingredient|S|7258
19019273|naproxen 500 MG Oral Tablet|Drug|RxNorm|Clinical Drug|S|198014
1118084|celecoxib|Drug|RxNorm|Ingredient|S|140587
1118088|celecoxib 200 MG Oral Capsule [Celebrex]|Drug|RxNorm|Branded Drug|S|213469
1124300|diclofenac|Drug|RxNorm|Ingredient|S|3355
40162359|Diclofenac Sodium 75 MG Delayed Release Oral Tablet|Drug|RxNorm|Clinical Drug|S|855926
3004249|Systolic blood pressure|Measurement|LOINC|Clinical Observation|S|8480-6
3012888|Diastolic blood pressure|Measurement|LOINC|Clinical Observation|S|8462-4
3036277|Body height|Measurement|LOINC|Clinical Observation|S|8302-2
3025315|Body weight|Measurement|LOINC|Clinical Observation|S|29463-7
3038553|Body mass index (BMI) [Ratio]|Measurement|LOINC|Clinical Observation|S|39156-5
3004410|Hemoglobin A1c/Hemoglobin.total in Blood|Measurement|LOINC|Lab Test|S|4548-4
3016723|Creatinine [Mass/volume] in Serum or Plasma|Measurement|LOINC|Lab Test|S|2160-0
3000963|Hemoglobin [Mass/volume] in Blood|Measurement|LOINC|Lab Test|S|718-7
3009966|Cholesterol in LDL [Mass/volume] in Serum or Plasma by Direct assay|Measurement|LOINC|Lab Test|S|18262-6
43055141|Pain severity - 0-10 verbal numeric rating [Score] - Reported|Measurement|LOINC|Clinical Observation|S|72514-3
8876|millimeter mercury column|Unit|UCUM|Unit|S|mm[Hg]
8582|centimeter|Unit|UCUM|Unit|S|cm
9529|kilogram|Unit|UCUM|Unit|S|kg
9531|kilogram per square meter|Unit|UCUM|Unit|S|kg/m2
8554|percent|Unit|UCUM|Unit|S|%
8840|milligram per deciliter|Unit|UCUM|Unit|S|mg/dL
8749|micromole per liter|Unit|UCUM|Unit|S|umol/L
8713|gram per deciliter|Unit|UCUM|Unit|S|g/dL
44777566|score|Unit|UCUM|Unit|S|[score]
"""  # fmt: skip

BELOW = {  # {concept: (its ancestor, levels between them)}
    4229440: (316139, 1), 4079749: (80180, 1), 4079750: (80180, 1), 4282096: (4152280, 1), 197500: (4180790, 1),
    19080128: (1308216, 2), 1332419: (1332418, 2), 1539411: (1539403, 2), 40163924: (1503297, 3),
    19059056: (1112807, 2), 40163554: (1310149, 2), 1154615: (1154343, 3), 1551192: (1551099, 2),
    40174880: (1501700, 2), 40173590: (1557272, 2), 19073188: (1713332, 2), 19019273: (1115008, 2),
    1118088: (1118084, 3), 40162359: (1124300, 2),
}  # fmt: skip
MAPS = {35208414: 192671}  # {code of a source: its standard concept}
_VOCABULARIES = {
    "None": "OMOP Standardized Vocabularies", "CDM": "OMOP Common DataModel", "Gender": "OMOP Gender",
    "Race": "Race and Ethnicity Code Set (USBC)", "Ethnicity": "OMOP Ethnicity", "Visit": "OMOP Visit",
    "Condition Type": "OMOP Condition Occurrence Type", "Drug Type": "OMOP Drug Exposure Type",
    "Observation Type": "OMOP Observation Type", "Obs Period Type": "OMOP Observation Period Type",
    "SNOMED": "Systematic Nomenclature of Medicine - Clinical Terms (IHTSDO)",
    "ICD10CM": "International Classification of Diseases, Tenth Revision, Clinical Modification (NCHS)",
    "RxNorm": "RxNorm (NLM)", "LOINC": "Logical Observation Identifiers Names and Codes (Regenstrief Institute)",
    "UCUM": "Unified Code for Units of Measure (Regenstrief Institute)",
}  # fmt: skip
VERSION = "subset for synthetic data"
_ALWAYS = ("1970-01-01", "2099-12-31", None)  # valid from, valid to, reason of invalidity

CONCEPTS: Mapping[int, tuple[str, ...]] = {
    int(line.split("|")[0]): tuple(line.split("|")[1:]) for line in _CONCEPTS.strip().splitlines()
}


def schema(table: str, columns: Sequence[str] = ()) -> pa.Schema:
    """The Arrow schema of a table: the columns named, or all those of version 5.4 of the data model."""
    kinds = {"int64": pa.int64(), "float64": pa.float64(), "date": pa.date32(), "timestamp": pa.timestamp("us")}
    wanted = columns or [name for name in TABLES[table] if name not in ONLY_53.get(table, ())]
    return pa.schema([(name, kinds.get(TABLES[table][name], pa.string())) for name in wanted])


ONLY_53 = {  # columns that version 5.4 has under another name
    "visit_occurrence": (
        "admitting_source_concept_id", "admitting_source_value", "discharge_to_concept_id", "discharge_to_source_value",
    ),
}  # fmt: skip


def vocabulary(name: str) -> dict[str, pa.Table]:
    """The tables concept, concept_ancestor, concept_relationship, vocabulary and cdm_source of the hospital `name`."""
    ids = [i for i in CONCEPTS if i]
    above = [(a, d, levels, levels) for d, (a, levels) in BELOW.items()]
    standard = [i for i in ids if CONCEPTS[i][4] == "S"]
    maps = [(i, i) for i in standard] + list(MAPS.items())
    day = "2024-12-31"
    source = (name, name, "synthetic", "Synthetic people; nobody's records", None, None, day, day, "5.4", 756265)
    rows: dict[str, list[tuple[Any, ...]]] = {
        "concept": [(i, *(part or None for part in parts), *_ALWAYS) for i, parts in CONCEPTS.items()],
        "concept_ancestor": [(i, i, 0, 0) for i in ids] + above,
        "concept_relationship": [
            row for one, two in maps for row in ((one, two, "Maps to", *_ALWAYS), (two, one, "Mapped from", *_ALWAYS))
        ],
        "vocabulary": [(key, text, None, VERSION, 0) for key, text in _VOCABULARIES.items()],
        "cdm_source": [(*source, VERSION)],
    }
    return {table: _table(table, content) for table, content in rows.items()}


def _table(name: str, rows: list[tuple[Any, ...]]) -> pa.Table:
    from datetime import date

    made = schema(name)
    columns = []
    for field, values in zip(made, zip(*rows, strict=True), strict=True):
        dated = field.type == pa.date32()
        columns.append(pa.array([date.fromisoformat(v) if dated else v for v in values], field.type))
    return pa.Table.from_arrays(columns, schema=made)
