"""Charlson's comorbidity index, in Romano's adaptation, as OHDSI's FeatureExtraction computes it.

Each disease that was recorded adds its weight once; milder forms are not taken off where there is a severe one. A
disease is a group of SNOMED concepts: the descendants of those below, by the hospital's own `concept_ancestor`.

Charlson ME, Pompei P, Ales KL, MacKenzie CR. J Chronic Dis 1987;40:373-383. Romano PS, Roos LL, Jollis JG. J Clin
Epidemiol 1993;46:1075-1079. Concepts and weights: FeatureExtraction, CharlsonIndex.sql at commit bceb943
(https://github.com/OHDSI/FeatureExtraction, Apache-2.0); later commits list single concepts in their place.
"""

from __future__ import annotations

from typing import NamedTuple


class Disease(NamedTuple):
    """A disease of the index: its weight, and the concepts whose descendants are it."""

    name: str
    weight: int
    ancestors: tuple[int, ...]


DISEASES = (
    Disease("myocardial infarction", 1, (4329847,)),
    Disease("congestive heart failure", 1, (316139,)),
    Disease("peripheral vascular disease", 1, (321052,)),
    Disease("cerebrovascular disease", 1, (381591, 434056)),
    Disease("dementia", 1, (4182210,)),
    Disease("chronic pulmonary disease", 1, (4063381,)),
    Disease("rheumatologic disease", 1, (257628, 134442, 80800, 80809, 256197, 255348)),
    Disease("peptic ulcer disease", 1, (4247120,)),
    Disease("mild liver disease", 1, (4064161, 4212540)),
    Disease("diabetes, mild to moderate", 1, (201820,)),
    Disease("diabetes with chronic complications", 2, (443767, 442793)),
    Disease("hemiplegia or paraplegia", 2, (192606, 374022)),
    Disease("renal disease", 2, (4030518,)),
    Disease("any malignancy", 2, (443392,)),
    Disease("moderate to severe liver disease", 3, (4245975, 4029488, 192680, 24966)),
    Disease("metastatic solid tumour", 6, (432851,)),
    Disease("AIDS", 6, (439727,)),
)
