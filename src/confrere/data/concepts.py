"""Codes to concepts, by a hospital's own vocabulary tables.

    ids(cdm, concept_set("nsaid", {"include": ["ATC:M01A"]}))      # an Ibis table: concept_id

A code is looked up by vocabulary and code, capitals and small letters alike unless two codes differ in them. A concept
that is neither standard nor a classification (ATC) stands for the standard ones that it maps to ('Maps to'), since
records hold those: https://ohdsi.github.io/TheBookOfOhdsi/StandardizedVocabularies.html. Descendants are added where a
set is expanded, by `ohdsi-circepy`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from confrere.data.omop import Cdm
from confrere.errors import DataError
from confrere.study.concepts import ConceptSet, circe_concept

Code = tuple[str, str]  # vocabulary, code
NEAR = 5_000  # codes of a vocabulary among which a misspelt one is looked for


def ids(cdm: Cdm, of: ConceptSet) -> Any:
    """The concepts of a set, with descendants and without what it excludes: an Ibis table with `concept_id`.

    DataError: a code that the hospital's vocabulary does not have, or that maps to no standard concept.
    """
    from circe.execution.ibis.codesets import _build_codeset_expression
    from circe.execution.normalize.cohort import NormalizedConceptSet, NormalizedConceptSetItem

    items = [
        NormalizedConceptSetItem(
            concept_id=i["concept"]["CONCEPT_ID"], is_excluded=i["isExcluded"],
            include_descendants=i["includeDescendants"], include_mapped=i["includeMapped"],
        )
        for i in _resolved(of.expression, found(cdm, codes(of.expression)))["items"]
    ]  # fmt: skip
    made = _build_codeset_expression(
        NormalizedConceptSet(set_id=0, items=tuple(items)),
        table_getter=lambda name, schema: cdm.table(name), vocabulary_schema=None,
    )  # fmt: skip
    return made.select(concept_id=made.concept_id.cast("int64"))


def one(cdm: Cdm, given: str | int) -> int:
    """The one concept of an id or a code, such as a unit's. DataError: unknown, or several."""
    if isinstance(given, int):
        return given
    made = circe_concept(given)
    code = (made["VOCABULARY_ID"], made["CONCEPT_CODE"])
    several = found(cdm, [code])[code]
    if len(several) > 1:
        raise DataError(f"{cdm.where}: {given} stands for {len(several)} concepts, one is needed here; give its id")
    return several[0]


def resolved(cdm: Cdm, text: str) -> str:
    """A definition (Circe JSON) whose concepts all have ids: those given by VOCABULARY_ID and CONCEPT_CODE get them.

    A code that maps to several standard concepts becomes several. DataError as for `ids`.
    """
    definition = json.loads(text)
    asked = codes(definition)
    if not asked:
        return text
    made = _resolved(definition, found(cdm, asked))
    if left := codes(made):
        raise DataError(
            f"the cohort definition has {':'.join(left[0])} outside a list of concepts; give its CONCEPT_ID"
        )
    return json.dumps(made)


def codes(node: Any) -> list[Code]:
    """The codes in a definition's JSON whose concepts have no id, each once."""
    return list(dict.fromkeys(_walked(node)))


def _walked(node: Any) -> Iterator[Code]:
    if (code := _code(node)) is not None:
        yield code
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _walked(value)


def _code(node: Any) -> Code | None:
    """Vocabulary and code of a concept without an id."""
    if not isinstance(node, dict):
        return None
    keys = {str(key).replace("_", "").lower(): value for key, value in node.items()}
    if "conceptcode" not in keys or keys.get("conceptid") is not None:
        return None
    return str(keys.get("vocabularyid") or ""), str(keys["conceptcode"])


def _resolved(node: Any, known: Mapping[Code, list[int]]) -> Any:
    """A JSON with ids in place of codes; in lists, a code of several concepts becomes several."""
    if isinstance(node, dict):
        return {key: _resolved(value, known) for key, value in node.items()}
    if not isinstance(node, list):
        return node
    made = []
    for entry in node:
        inner = entry.get("concept") if isinstance(entry, dict) else None
        code = _code(inner or entry)
        if code is None:
            made.append(_resolved(entry, known))
        elif inner is not None:
            made += [{**entry, "concept": {**inner, "CONCEPT_ID": concept}} for concept in known[code]]
        else:
            made += [{**entry, "CONCEPT_ID": concept} for concept in known[code]]
    return made


def found(cdm: Cdm, asked: Iterable[Code]) -> dict[Code, list[int]]:
    """The ids of codes: the concept's own if it is standard or a classification, else those that it maps to; sorted.

    DataError names the code, its vocabulary, and codes near it.
    """
    wanted = list(asked)
    if not wanted:
        return {}
    if not cdm.has("concept"):
        raise DataError(
            f"{cdm.where}: {':'.join(wanted[0])} needs the table 'concept', which the source does not have; load the "
            f"vocabulary, or have the study name concepts by their ids"
        )
    rows = _rows(cdm, wanted)
    own = {code: _best(cdm, code, rows) for code in wanted}
    mapped = _mapped(cdm, [r["concept_id"] for r in own.values() if r["standard_concept"] not in ("S", "C")])
    made = {}
    for code, row in own.items():
        standard = row["standard_concept"] in ("S", "C")
        made[code] = [int(row["concept_id"])] if standard else mapped.get(row["concept_id"], [])
        if not made[code]:
            raise DataError(
                f"{cdm.where}: {':'.join(code)} ({row['concept_name']}) is not standard and maps to no standard "
                f"concept; take the codes below it, or a standard concept"
            )
    return made


def _rows(cdm: Cdm, asked: Iterable[Code]) -> list[dict[str, Any]]:
    """The concepts of the vocabulary that have these codes, whatever their capitals."""
    concept = cdm.table("concept")
    listed = list(asked)
    matching = concept.filter(
        concept.vocabulary_id.lower().isin(sorted({v.lower() for v, _ in listed})),
        concept.concept_code.lower().isin(sorted({c.lower() for _, c in listed})),
    )
    names = ["concept_id", "concept_name", "vocabulary_id", "concept_code", "standard_concept", "invalid_reason"]
    rows: list[dict[str, Any]] = matching.select(*names).order_by("concept_id").to_pyarrow().to_pylist()
    return rows


def _best(cdm: Cdm, code: Code, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The concept of a code: the same capitals first, then what is valid. DataError: none, or several."""
    alike = [r for r in rows if (r["vocabulary_id"].lower(), r["concept_code"].lower()) == tuple(map(str.lower, code))]
    if not alike:
        raise _unknown(cdm, code)
    exact = [r for r in alike if r["concept_code"] == code[1]] or alike
    valid = [r for r in exact if not r["invalid_reason"]] or exact
    if len(valid) > 1:
        spelt = ", ".join(f"{r['concept_code']} ({r['concept_id']})" for r in valid[:5])
        raise DataError(f"{cdm.where}: {':'.join(code)} is not one concept: {spelt}; give the id")
    return valid[0]


def _mapped(cdm: Cdm, concepts: list[int]) -> dict[int, list[int]]:
    """{concept: the valid standard concepts that it maps to}."""
    if not concepts:
        return {}
    relation, concept = cdm.table("concept_relationship"), cdm.table("concept")
    links = relation.filter(
        relation.concept_id_1.isin(sorted(set(concepts))),
        relation.relationship_id == "Maps to",
        relation.invalid_reason.isnull(),
    ).select("concept_id_1", "concept_id_2")
    standard = concept.filter(concept.standard_concept == "S").select("concept_id")
    made: dict[int, list[int]] = {}
    kept = links.semi_join(standard, links.concept_id_2 == standard.concept_id).order_by("concept_id_2")
    for row in kept.to_pyarrow().to_pylist():
        made.setdefault(row["concept_id_1"], []).append(int(row["concept_id_2"]))
    return {source: list(dict.fromkeys(targets)) for source, targets in made.items()}


def _unknown(cdm: Cdm, code: Code) -> DataError:
    """What the vocabulary has instead of a code."""
    concept = cdm.table("concept")
    vocabulary, wanted = code
    there = sorted(v for v in concept.select("vocabulary_id").distinct().to_pyarrow()["vocabulary_id"].to_pylist() if v)
    same = [v for v in there if v.lower() == vocabulary.lower()]
    if not same:
        near = get_close_matches(vocabulary, there, 1) or [v for v in there if v.lower() in vocabulary.lower()][:1]
        said = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(there[:30]) or 'none'}"
        return DataError(f"{cdm.where}: there is no vocabulary '{vocabulary}' ({vocabulary}:{wanted}); {said}")
    of = concept.filter(concept.vocabulary_id == same[0])
    begins = of.filter(of.concept_code.lower().startswith(wanted[: min(2, max(1, len(wanted) - 1))].lower()))
    listed = [c for c in begins.concept_code.to_pyarrow().to_pylist()[:NEAR] if c]
    near = get_close_matches(wanted, listed, 3, 0.5)
    said = f"near it are {', '.join(near)}" if near else "check the code"
    return DataError(f"{cdm.where}: the vocabulary {same[0]} has no code '{wanted}'; {said}")
