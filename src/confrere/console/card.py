"""`confrere card`: what an evaluation found, put on the card of the model that it evaluated.

The result says by a hash which model that was; the model says its own. Signatures are of a file with its card as it
was, and go: hospitals sign again what they now read.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from confrere.errors import StudyError


def card(
    model: Annotated[Path, typer.Argument(help="A model: models/NAME.json of a result.", metavar="MODEL")],
    found: Annotated[Path, typer.Option("--with", metavar="FILE", help="The result.json of an evaluation of it.")],
    lang: Annotated[str, typer.Option("--lang", "--language", help="Language of the card's page: en or fr.")] = "en",
) -> None:
    """Put the metrics of an evaluation on a model's card, in its file and on its page.

    The result must be of this very model, by its SHA-256. Signatures go, since the card has changed.
    """
    from confrere.console.output import check_language
    from confrere.console.predict import read
    from confrere.hospital.signing import of_card, rewritten
    from confrere.report.model_card import page
    from confrere.report.words import Words

    check_language(lang)
    sha256 = read(model).sha256
    plain = json.loads(model.read_text(encoding="utf-8"))
    if "card" not in plain:
        raise StudyError(f"{model} has no card; give models/NAME.json of a result")
    made = plain["card"]
    if (said := of_card(plain)) != sha256:
        raise StudyError(f"the card in {model} is of another model ({said[:16]}); was it changed?")
    new = evaluations(found, sha256)
    known = {(e["result"], e["analysis"]) for e in new}
    kept = [e for e in made.get("evaluations", []) if (e["result"], e["analysis"]) not in known]
    made["evaluations"] = [*kept, *new]
    signed = plain.pop("signatures", {})
    rewritten(model, plain)
    model.with_suffix(".card.md").write_text(page(made, Words("fr" if lang == "fr" else "en")), encoding="utf-8")
    many = len(made["evaluations"])
    typer.echo(f"{model}: the card has {many} evaluation{'s' * (many != 1)} of model {sha256[:16]}")
    if signed:
        typer.echo(f"The signatures of {', '.join(sorted(signed))} were of the card before; ask for new ones.")


def evaluations(path: Path, sha256: str) -> list[dict[str, Any]]:
    """What a result found of the model of a hash: of each evaluation the study, the people, the metrics.

    StudyError where it evaluated none, or another.
    """
    try:
        raw = path.read_bytes()
        result = json.loads(raw)
        analyses = result["analyses"]
        of = {a["name"]: a["facts"].get("evaluated_sha256") for a in analyses}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"--with {path} is no result ({error}); give the result.json of an evaluation") from None
    if sha256 not in of.values():
        others = ", ".join(f"{name} of {h[:16]}" for name, h in of.items() if h) or "none that names its model (learnt)"
        raise StudyError(f"--with {path} has no evaluation of model {sha256[:16]}; it has {others}")
    return [entry(result, a, raw) for a in analyses if of[a["name"]] == sha256]


def entry(result: dict[str, Any], analysis: dict[str, Any], raw: bytes) -> dict[str, Any]:
    """An evaluation as it stands on a card; `raw` is the file of the result."""
    keys = ("metric", "subgroup", "level", "time", "estimate", "conf_low", "conf_high")
    return {
        "result": hashlib.sha256(raw).hexdigest(), "analysis": analysis["name"], "study": result["study"]["id"],
        "hash": result["study"]["hash"], "title": result["study"]["title"], "made": result["created"],
        "people": analysis["n"], "events": analysis["events"], "hospitals": analysis["hospitals"],
        "horizon": analysis["facts"].get("horizon"), "time_unit": result["study"].get("time_unit") or "",
        "warnings": analysis["warnings"],
        "metrics": [{k: r[k] for k in keys if k in r} for r in analysis["tables"]["metrics"]],
    }  # fmt: skip
